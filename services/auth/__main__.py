"""Starts auth: python -m services.auth."""

from services.auth.app import build
from shared.service import run

run(build)
