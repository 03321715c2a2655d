"""Training and test examples made from structures."""
