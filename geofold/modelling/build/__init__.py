"""Building of missing loops."""
