"""Gateway: the HTTP edge."""
