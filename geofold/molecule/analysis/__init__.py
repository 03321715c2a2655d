"""Measurements on structures."""
