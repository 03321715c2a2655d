"""Conversions from and to the objects of other toolkits."""
