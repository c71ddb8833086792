"""Starts evaluator: python -m services.evaluator."""

from shared.start import start

start("evaluator")
