"""Run monitor: python -m services.monitor."""

from services.monitor.app import build
from shared.service import run

run(build)
