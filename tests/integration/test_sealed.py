"""Secrets in tables: none in clear, sealed anew when there is a new key, and loud when the keys are gone."""

from collections.abc import AsyncIterator, Callable

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.inference.settings import Settings
from services.inference.webhooks import domain
from services.inference.webhooks.store import SECRETS
from shared.errors import AimassError
from shared.resealing import Resealing
from shared.rpc.inference import CreateWebhook
from shared.sealing import KeyFile, NotOurs, add_key, drop_older_keys
from shared.settings import ServiceSettings
from tests.integration.deferred_desk import Desk, open_desk

PURPOSE = domain.purpose("default", "mine")


@pytest.fixture
async def desk(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Desk]:
    async with open_desk(Settings(**settings_of("inference").model_dump()), nats) as opened:
        yield opened


async def row_of(desk: Desk) -> tuple[str | None, bytes | None]:
    assert desk.service.database
    async with desk.service.database.connection() as connection:
        row = await connection.fetchrow("SELECT secret, sealed FROM webhooks")
    assert row
    return row["secret"], row["sealed"]


def resealing(desk: Desk) -> Resealing:
    assert desk.service.database
    return Resealing(desk.service.database, KeyFile(desk.settings.seal_keys), [SECRETS])


async def test_a_webhook_keeps_no_secret_in_clear(desk: Desk) -> None:
    made = await desk.ask(CreateWebhook(name="mine", url="https://example.org/"))
    clear, sealed = await row_of(desk)
    assert clear is None and sealed is not None and made.secret.encode() not in sealed
    keys = KeyFile(desk.settings.seal_keys)
    assert keys.sealer().open(sealed, PURPOSE).decode() == made.secret
    with pytest.raises(NotOurs):
        keys.sealer().open(sealed, domain.purpose("other", "mine"))


async def test_what_stands_in_clear_is_sealed(desk: Desk) -> None:
    assert desk.service.database
    async with desk.service.database.connection() as connection:
        insert = "INSERT INTO webhooks (project, name, url, secret, created_by) VALUES ($1, $2, '', 'whsec_old', '')"
        await connection.execute(insert, "default", "mine")
    assert await resealing(desk).look() is False
    clear, sealed = await row_of(desk)
    assert clear is None and sealed is not None
    assert KeyFile(desk.settings.seal_keys).sealer().open(sealed, PURPOSE) == b"whsec_old"


async def test_a_new_key_seals_everything_anew(desk: Desk) -> None:
    made = await desk.ask(CreateWebhook(name="mine", url="https://example.org/"))
    looking, (_, before) = resealing(desk), await row_of(desk)
    add_key(desk.settings.seal_keys)
    await looking.look()
    _, after = await row_of(desk)
    assert before is not None and after is not None
    last = drop_older_keys(desk.settings.seal_keys)
    assert last.open(after, PURPOSE).decode() == made.secret
    with pytest.raises(NotOurs):
        last.open(before, PURPOSE)


async def test_lost_keys_are_a_problem_that_says_what_to_do(desk: Desk) -> None:
    await desk.ask(CreateWebhook(name="mine", url="https://example.org/"))
    desk.settings.seal_keys.unlink()
    looking = resealing(desk)
    with pytest.raises(AimassError, match="restore the file of keys"):
        await looking.look()
    assert "webhook default/mine" in await looking.problem()
