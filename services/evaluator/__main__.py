"""Run evaluator."""

from services.evaluator.app import build
from shared.service import run

run(build)
