"""The viewer page."""
