"""Starts monitor: python -m services.monitor."""

from shared.start import start

start("monitor")
