"""The first step of a service's process, before anything heavy is imported."""

import asyncio
import gc
from collections.abc import Callable
from importlib import import_module


def start(service: str, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """Import a service's app and run what it builds.

    Without the collector, which would take a seventh of the time to look through what imports only add to; once all is
    built, the service turns it on.
    """
    gc.disable()
    run = import_module("shared.service").run
    run(import_module(f"services.{service}.app").build, loop_factory)
