"""Sound as people have it, and as models take and give it."""
