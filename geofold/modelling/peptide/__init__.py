"""Peptide streams under contacts."""
