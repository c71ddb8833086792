"""The training loop beside the bare one, and beside loops that other tools keep the books of."""
