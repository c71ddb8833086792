"""A small English model of spaCy, which labels texts for our own to learn from."""
