"""Sessions of users: a chain of refresh tokens, each of which counts once."""
