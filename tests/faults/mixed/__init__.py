"""Mixed chaos: seeded faults of every kind over a whole stack under load, and an auditor of what was promised."""
