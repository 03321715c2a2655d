"""Curved mazes: a second domain on the same core, with worlds, a gymnasium environment, a run and its pictures."""
