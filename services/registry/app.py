"""The composition root of registry."""

from services.registry.files import Files
from services.registry.handlers import HANDLERS
from services.registry.parts import Parts
from services.registry.settings import Settings
from shared.artifacts import Artifacts
from shared.service import Service


def build() -> Service:
    settings = Settings()
    service = Service("registry", settings)
    artifacts = Artifacts(settings.artifacts_url)
    service.handle(HANDLERS, Parts(Files(artifacts, settings), service.bus, artifacts))
    return service
