"""Search for loop conformations."""
