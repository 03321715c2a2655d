"""Learned models compared."""
