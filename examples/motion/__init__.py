"""A real clip through a model of one's own: what moves in it, and how many people pass."""
