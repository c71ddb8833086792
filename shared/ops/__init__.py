"""The operators' side of a service: readiness, its live page, its figures and its interface on the bus."""
