"""Starts auth: python -m services.auth."""

from shared.start import start

start("auth")
