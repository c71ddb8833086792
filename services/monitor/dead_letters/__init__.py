"""Dead letters: what services gave up on, shown, tried once more, or discarded with a reason."""
