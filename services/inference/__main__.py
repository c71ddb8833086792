"""Run inference."""

import uvloop

from services.inference.app import build
from shared.service import run

run(build, uvloop.new_event_loop)
