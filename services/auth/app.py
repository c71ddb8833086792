"""The composition root of auth."""

from services.auth.bootstrap import AdminKey, BucketKeeper
from services.auth.extensions.office import open_office
from services.auth.factors.desk import FactorDesk
from services.auth.handlers import HANDLERS, Parts
from services.auth.keyring import Keyring, SigningKeys
from services.auth.login import Doorman
from services.auth.passwords import Passwords
from services.auth.sessions.desk import SessionDesk
from services.auth.settings import Settings
from shared.sealing import Sealer, add_key, read_keys
from shared.service import Service
from shared.streams import CHANGED_SUBJECT

PUBLISHED_SECONDS = 3.0


def _sealer(settings: Settings) -> Sealer:
    """The keys that seal are made at the first start."""
    file = settings.seal_key_file or settings.home_dir / "seal.keys"
    return read_keys(file) if file.exists() else add_key(file)


def build() -> Service:
    settings = Settings()
    service = Service("auth", settings)
    relay = service.relay
    assert relay, "auth needs AUTH_DATABASE_URL"

    async def broadcast(subject: str, payload: bytes) -> None:
        await service.bus.connection.publish(subject, payload)

    async def published(ids: list[str]) -> None:
        await relay.wait_published(ids, PUBLISHED_SECONDS)

    async def announce(ids: list[str]) -> None:
        await published(ids)
        await broadcast(CHANGED_SUBJECT, b"")

    admin_key = AdminKey(settings.admin_key_file, relay.work)
    keeper = BucketKeeper(relay.work, lambda: service.bus.js)
    keyring, passwords = Keyring(settings.home_dir / "signing.keys"), Passwords()
    signing_keys = SigningKeys(keyring, relay.work, settings.lifetimes.idle)
    factors = FactorDesk(_sealer(settings), settings.second_factor_roles)
    sessions = SessionDesk(relay.work, announce, keyring, factors, settings.token_seconds, settings.lifetimes)
    doorman = Doorman(relay.work, announce, passwords, sessions, factors)
    secret, urls = settings.callout_secret.get_secret_value(), (settings.nats_url, settings.public_bus_url)
    office = open_office(service, relay.work, published, secret, (urls[0], urls[1] or urls[0])) if secret else None
    service.handle(HANDLERS, Parts(broadcast, passwords, doorman, signing_keys, sessions, factors, office))
    service.add_loop("admin key", admin_key.ensure)
    service.add_check("admin key", admin_key.problem)
    service.add_loop("signing keys", signing_keys.run)
    service.add_check("signing key", signing_keys.problem)
    service.add_loop("bucket keeper", keeper.run)
    return service
