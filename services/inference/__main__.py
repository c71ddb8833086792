"""Run inference."""

from services.inference.app import build
from shared.service import run

run(build)
