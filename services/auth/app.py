"""The composition root of auth."""

from services.auth.bootstrap import AdminKey, BucketKeeper
from services.auth.extensions.office import open_office
from services.auth.factors.desk import FactorDesk
from services.auth.factors.store import SECRETS
from services.auth.handlers import HANDLERS, Parts
from services.auth.invitations.desk import InvitationDesk
from services.auth.keyring import Keyring, SigningKeys
from services.auth.login import Doorman
from services.auth.oidc.asking import Asking
from services.auth.oidc.desk import OidcDesk
from services.auth.oidc.store import SECRETS as CLIENT_SECRETS
from services.auth.passwords import Passwords
from services.auth.sessions.desk import SessionDesk
from services.auth.settings import Settings
from shared.outbound import Outbound
from shared.resealing import Resealing
from shared.sealing import KeyFile
from shared.service import Service
from shared.streams import CHANGED_SUBJECT

PUBLISHED_SECONDS = 3.0


def build() -> Service:
    settings = Settings()
    service = Service("auth", settings)
    relay = service.relay
    assert relay and service.database, "auth needs AUTH_DATABASE_URL"

    async def broadcast(subject: str, payload: bytes) -> None:
        await service.bus.connection.publish(subject, payload)

    async def published(ids: list[str]) -> None:
        await relay.wait_published(ids, PUBLISHED_SECONDS)

    async def announce(ids: list[str]) -> None:
        await published(ids)
        await broadcast(CHANGED_SUBJECT, b"")

    admin_key = AdminKey(settings.admin_key_file, relay.work, announce)
    keeper = BucketKeeper(relay.work, lambda: service.bus.js)
    keyring, passwords = Keyring(settings.home_dir / "signing.keys"), Passwords()
    signing_keys = SigningKeys(keyring, relay.work, settings.lifetimes.idle)
    keys = KeyFile(settings.seal_keys)
    resealing = Resealing(service.database, keys, [*SECRETS, *CLIENT_SECRETS])
    factors = FactorDesk(keys, settings.second_factor_roles)
    sessions = SessionDesk(relay.work, announce, keyring, factors, settings.token_seconds, settings.lifetimes)
    invitations = InvitationDesk(relay.work, announce, passwords)
    asking = Asking(Outbound(settings.provider_seconds, inside=settings.provider_inside))
    oidc = OidcDesk(relay.work, announce, sessions, keys, asking)
    doorman = Doorman(relay.work, announce, passwords, sessions, factors, settings.address_failures)
    secret, urls = settings.callout_secret.get_secret_value(), (settings.nats_url, settings.public_bus_url)
    office = open_office(service, relay.work, published, secret, (urls[0], urls[1] or urls[0])) if secret else None
    desks = (passwords, doorman, signing_keys, sessions, factors, invitations, oidc)
    service.handle(HANDLERS, Parts(broadcast, *desks, office))
    service.add_loop("admin key", admin_key.ensure)
    service.add_check("admin key", admin_key.problem)
    service.add_loop("signing keys", signing_keys.run)
    service.add_check("signing key", signing_keys.problem)
    service.add_loop("bucket keeper", keeper.run)
    service.add_loop("secrets", resealing.run)
    service.add_check("secrets", resealing.problem)
    return service
