"""Bonds, gaps and the tree of torsions."""
