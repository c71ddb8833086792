"""The whole system on one machine: real NATS, PostgreSQL and Triton from wheels, and the seven services."""
