"""Auth: who may do what."""
