"""Starts registry: python -m services.registry."""

from shared.start import start

start("registry")
