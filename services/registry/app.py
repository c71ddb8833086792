"""The composition root of registry."""

from services.registry.handlers import HANDLERS
from services.registry.settings import Settings
from shared.service import Service


def build() -> Service:
    service = Service("registry", Settings())
    service.handle(HANDLERS, None)
    return service
