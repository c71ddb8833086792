"""What projects used, what it costs and what they may use."""
