"""The peptide policy."""
