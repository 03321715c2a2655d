"""Measurements, audits and reports."""
