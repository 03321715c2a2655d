"""Latency of steps and commands."""
