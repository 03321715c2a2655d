"""Density maps: reading, a term of the loop loss, and the correlation of a model with a map."""
