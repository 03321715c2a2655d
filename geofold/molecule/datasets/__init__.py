"""Training and test examples made of structures."""
