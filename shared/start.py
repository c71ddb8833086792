"""The first step of a service's process, before anything heavy is imported."""

import gc
import sys
from importlib import import_module
from types import ModuleType

import uvloop

# What others import for web sockets and for tracebacks in colour: a seventh of a service's start, and memory.
UNUSED = {"nats": "aiohttp", "structlog": "rich"}


def start(service: str) -> None:
    """Import a service's app and run what it builds.

    Without the collector, which would take a seventh of the time to look through what imports only add to; once all is
    built, the service turns it on.
    """
    gc.disable()
    for module, unused in UNUSED.items():
        _import_without(unused, module)
    run = import_module("shared.service").run
    run(import_module(f"services.{service}.app").build, uvloop.new_event_loop)


def _import_without(unused: str, module: str) -> None:
    """Import a module that does without another one where it is missing."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    modules[unused] = None
    import_module(module)
    del modules[unused]
