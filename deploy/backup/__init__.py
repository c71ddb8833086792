"""Backups of the embedded stack while it runs, and homes made of them."""
