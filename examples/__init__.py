"""Examples that run against a running stack."""
