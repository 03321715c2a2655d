"""Benchmark of the live page: latency and frame rate in a browser."""
