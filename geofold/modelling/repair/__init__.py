"""Repair of loops that are present."""
