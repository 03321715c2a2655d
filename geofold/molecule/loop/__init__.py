"""The loop domain: what moves, what it costs, and what the loop model reads."""
