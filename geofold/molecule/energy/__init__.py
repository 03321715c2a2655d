"""Sterics, Ramachandran terms, and the all-atom force field."""
