"""Agents of the maze benchmark."""
