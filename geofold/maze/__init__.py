"""Maze with curved ground: worlds, domain, episodes, rendering and a gymnasium environment."""
