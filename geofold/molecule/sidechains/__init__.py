"""Rotamers, packing, and minimisation along chi."""
