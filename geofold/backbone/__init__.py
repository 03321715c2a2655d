"""Library of streaming sequence models with one protocol: `scan` over a sequence equals repeated `step`."""
