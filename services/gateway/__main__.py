"""Starts gateway: python -m services.gateway."""

import uvloop

from shared.start import start

start("gateway", uvloop.new_event_loop)
