"""Starts inference: python -m services.inference."""

from shared.start import start

start("inference")
