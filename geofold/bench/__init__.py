"""Benchmarks: commands that measure geofold against other tools and keep their raw records."""
