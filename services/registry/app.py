"""The composition root of registry."""

from services.registry.cleaning import Cleaning
from services.registry.files import Files
from services.registry.handlers import HANDLERS
from services.registry.holding import Holding
from services.registry.parts import Parts
from services.registry.settings import Settings
from services.registry.tagging import Tagging
from shared.artifacts import Artifacts
from shared.service import Service


def build() -> Service:
    settings = Settings()
    service = Service("registry", settings)
    artifacts = Artifacts(settings.artifacts_url)
    assert service.database is not None, "registry needs REGISTRY_DATABASE_URL"
    assert service.relay is not None
    parts = Parts(Files(artifacts, settings), service.bus, artifacts)
    service.handle(HANDLERS, parts)
    service.add_loop("cleaning", Cleaning(service.database, parts, settings).run)
    service.add_loop("storage", Holding(service.database, service.relay, artifacts, settings.storage_seconds).run)
    service.add_loop("tags", Tagging(service.relay).run)
    return service
