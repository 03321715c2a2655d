"""Training data: protein chains."""
