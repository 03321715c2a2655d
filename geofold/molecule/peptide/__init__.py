"""The peptide domain: contacts, and what the peptide policy reads."""
