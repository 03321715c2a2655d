"""Other programs that model loops."""
