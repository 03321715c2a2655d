"""Agents of the peptide benchmark, one file each."""
