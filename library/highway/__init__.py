"""Roads simulated by highway-env, in an environment of its own: `inside/` runs there and imports none of this."""
