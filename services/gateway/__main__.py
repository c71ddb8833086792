"""Starts the gateway: python -m services.gateway."""

import uvloop

from services.gateway.app import build
from shared.service import run

run(build, uvloop.new_event_loop)
