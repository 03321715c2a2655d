"""Moving a chain by hand: a session, its actions, and the server of its page."""
