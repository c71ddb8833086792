"""Starts inference: python -m services.inference."""

import uvloop

from shared.start import start

start("inference", uvloop.new_event_loop)
