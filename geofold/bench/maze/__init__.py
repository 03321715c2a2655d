"""The maze benchmark."""
