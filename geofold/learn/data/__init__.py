"""Training chains."""
