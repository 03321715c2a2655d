"""Peptide benchmarks."""
