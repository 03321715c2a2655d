"""Maze with curved ground: domain, episodes, rendering and a gymnasium environment."""
