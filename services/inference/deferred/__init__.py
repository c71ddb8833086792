"""Deferred inference: requests that nobody waits for, answered once by whichever node has the model."""
