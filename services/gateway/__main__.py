"""Starts gateway: python -m services.gateway."""

from shared.start import start

start("gateway")
