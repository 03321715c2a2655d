"""Steering of a peptide while it streams."""
