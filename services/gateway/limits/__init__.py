"""What narrows a caller: where he comes from, what his key is for, and how often he may ask, over all replicas."""
