"""Worlds: curved ground with barriers, the oracle's shortest paths, and the fields and the chart that agents see."""
