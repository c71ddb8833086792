"""Starts trainer: python -m services.trainer."""

from shared.start import start

start("trainer")
