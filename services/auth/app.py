"""The composition root of auth."""

from services.auth.bootstrap import AdminKey, BucketKeeper
from services.auth.handlers import HANDLERS, Parts
from services.auth.settings import Settings
from shared.service import Service


def build() -> Service:
    settings = Settings()
    service = Service("auth", settings)
    assert service.relay, "auth needs AUTH_DATABASE_URL"

    async def broadcast(subject: str, payload: bytes) -> None:
        await service.bus.connection.publish(subject, payload)

    admin_key = AdminKey(settings.admin_key_file, service.relay.work)
    keeper = BucketKeeper(service.relay.work, lambda: service.bus.js)
    service.handle(HANDLERS, Parts(broadcast))
    service.add_loop("admin key", admin_key.ensure)
    service.add_check("admin key", admin_key.problem)
    service.add_loop("bucket keeper", keeper.run)
    return service
