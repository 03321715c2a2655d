"""Streaming sequence models under one protocol: `scan` of a sequence equals `step` after `step`."""
