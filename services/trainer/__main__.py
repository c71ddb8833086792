"""Run trainer: python -m services.trainer."""

from services.trainer.app import build
from shared.service import run

run(build)
