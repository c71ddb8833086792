"""API keys on real servers: with the allow-lists of auth, on its own database role."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest
from nats.js.errors import NotFoundError
from pydantic import SecretStr

from deploy.embedded.servers import BusUser
from deploy.embedded.testing_servers import NatsServer, nats_server
from deploy.provision import allow_lists, provision_bus_over
from services.auth.app import build
from services.auth.handlers import HANDLERS
from shared.bus import Bus
from shared.context import Context
from shared.credentials import Credential, credential_subject, key_digest
from shared.errors import Conflict, InvalidInput, NotFound, Unavailable
from shared.permissions import Role
from shared.rpc.auth import ApiKeyCreated, CreateApiKey, CreateUser, ListApiKeys, RevokeApiKey, UpdateUser
from shared.service import Service
from shared.settings import ServiceSettings
from shared.streams import REVOKED_SUBJECT
from shared.tokens import signing_key_name, user_name

DEADLINE = 60
ADMIN = Context(actor="key-of-admin")
NAME_ADMIN = "UPDATE api_keys SET id = $1 WHERE name = 'first admin key'"


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A bus on which auth may do what it declares and nothing else."""
    users = {"auth": BusUser("password", allow_lists(HANDLERS.declaration)), "gateway": BusUser("password")}
    with nats_server(tmp_path / "nats", users) as server:
        yield server


@pytest.fixture
async def admin(nats: NatsServer) -> AsyncIterator[Any]:
    await provision_bus_over(nats.url, [HANDLERS.declaration])
    connection = await nats_client.connect(nats.url)
    yield connection
    await connection.close()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "admin.key"


@pytest.fixture
def start(
    admin: Any, settings_of: Callable[[str], ServiceSettings], key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    """Starts auth as its main module does, configured by its environment."""
    settings = settings_of("auth")
    monkeypatch.setenv("AUTH_NATS_URL", settings.nats_url)
    monkeypatch.setenv("AUTH_NATS_PASSWORD", settings.nats_password.get_secret_value())
    monkeypatch.setenv("AUTH_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("AUTH_ADMIN_KEY_FILE", str(key_file))
    monkeypatch.setenv("AUTH_HOME_DIR", str(key_file.parent.parent / "home"))

    @asynccontextmanager
    async def run() -> AsyncIterator[Service]:
        service = build()
        task = asyncio.create_task(service.run())
        await until(lambda: task.done() or not service.readiness.problems())
        if service.database and not task.done():
            async with service.database.connection() as connection:
                await connection.execute(NAME_ADMIN, ADMIN.actor)
        yield service
        service.stop()
        await task

    return run


@pytest.fixture
async def gateway(nats: NatsServer) -> AsyncIterator[Bus]:
    bus = Bus("gateway", ServiceSettings(nats_url=nats.servers, nats_password=SecretStr("password")))
    await bus.connect()
    yield bus
    await bus.broker.stop()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.02)


async def eventually(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await condition():
            await asyncio.sleep(0.02)


async def entry(admin: Any, digest: str) -> Any:
    """The bucket's last message about a key, or None."""
    try:
        return await admin.jetstream().get_last_msg("KV_credentials", credential_subject(digest))
    except NotFoundError:
        return None


async def create(gateway: Bus, **fields: Any) -> ApiKeyCreated:
    return await gateway.ask(CreateApiKey(**{"name": "n", "roles": [Role.VIEWER]} | fields), ADMIN)


async def test_the_first_start_makes_one_admin_key(start: Any, admin: Any, key_file: Path, gateway: Bus) -> None:
    async with start():
        secret = key_file.read_text().strip()
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        assert [path.name for path in key_file.parent.iterdir()] == ["admin.key"]

        async def is_in_the_bucket() -> bool:
            return await entry(admin, key_digest(secret)) is not None

        await eventually(is_in_the_bucket)
        credential = Credential.model_validate_json((await entry(admin, key_digest(secret))).data)
        assert credential.roles == (Role.ADMIN,) and credential.project == "default"
    async with start():
        assert key_file.read_text().strip() == secret
        assert len((await gateway.ask(ListApiKeys(), ADMIN)).keys) == 1


async def test_it_is_ready_when_gateways_know_the_first_key(start: Any, admin: Any, key_file: Path) -> None:
    async with start():
        assert (await entry(admin, key_digest(key_file.read_text().strip()))).data


async def test_a_key_is_known_to_the_bucket_when_it_is_answered(start: Any, admin: Any, gateway: Bus) -> None:
    expires = datetime.now(UTC) + timedelta(days=1)
    async with start():
        created = await create(gateway, name="ci", roles=[Role.OPERATOR, Role.VIEWER], expires_at=expires)
        kept = await entry(admin, key_digest(created.secret))
        assert Credential.model_validate_json(kept.data) == Credential(
            key_id=created.id, name="ci", roles=(Role.OPERATOR, Role.VIEWER), expires_at=expires
        )
        assert created.created_by == ADMIN.actor
        listed = await gateway.ask(ListApiKeys(), ADMIN)
        assert listed.keys[0].id == created.id and created.secret.startswith(listed.keys[0].prefix)
        assert created.secret not in listed.model_dump_json()
        other = Context(project="other", actor="x")
        assert (await gateway.ask(ListApiKeys(), other)).keys == []
        with pytest.raises(NotFound):
            await gateway.ask(RevokeApiKey(key_id=created.id), other)


async def test_secrets_stand_nowhere(start: Any, admin: Any, gateway: Bus, capfd: pytest.CaptureFixture[str]) -> None:
    async with start() as service:
        created = await gateway.ask(CreateApiKey(name="n", roles=[Role.VIEWER]), replace(ADMIN, idempotency_key="k"))
        said = await (await admin.jetstream().subscribe("evt.default.identity.v1.api_key_created")).next_msg(DEADLINE)
        assert b"key_id" in said.data and created.secret not in said.data.decode()
        async with service.database.connection() as connection:
            for table in ("api_keys", "outbox", "idempotency"):
                rows = await connection.fetch(f"SELECT t::text AS row FROM {table} t")
                assert not any(created.secret in row["row"] for row in rows)
    assert created.secret not in "".join(capfd.readouterr())


async def test_a_revoked_key_is_deleted_and_broadcast(start: Any, admin: Any, gateway: Bus) -> None:
    async with start():
        created = await create(gateway)
        digest = key_digest(created.secret)
        broadcast = await admin.subscribe(REVOKED_SUBJECT)
        events = await admin.jetstream().subscribe("evt.default.identity.v1.api_key_revoked")
        revoked = await gateway.ask(RevokeApiKey(key_id=created.id), ADMIN)
        assert revoked.revoked_at is not None
        last = await entry(admin, digest)
        assert last.headers["KV-Operation"] == "DEL"
        assert (await broadcast.next_msg(DEADLINE)).data == digest.encode()
        assert json.loads((await events.next_msg(DEADLINE)).data)["key_id"] == created.id
        again = await gateway.ask(RevokeApiKey(key_id=created.id), ADMIN)
        assert again.revoked_at == revoked.revoked_at
        with pytest.raises(NotFound, match="no API key"):
            await gateway.ask(RevokeApiKey(key_id="nobody"), ADMIN)


async def test_the_last_admin_key_stays(start: Any, gateway: Bus) -> None:
    async with start():
        first = (await gateway.ask(ListApiKeys(), ADMIN)).keys[0]
        with pytest.raises(Conflict, match="last admin key"):
            await gateway.ask(RevokeApiKey(key_id=first.id), ADMIN)
        second = await create(gateway, roles=[Role.ADMIN])
        replies = await asyncio.gather(
            *(gateway.ask(RevokeApiKey(key_id=key), ADMIN) for key in (first.id, second.id)), return_exceptions=True
        )
        assert [isinstance(reply, Conflict) for reply in replies].count(True) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"roles": []},
        {"roles": ["emperor"]},
        {"name": ""},
        {"name": "a\x00b"},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "9999-12-31T23:59:59-14:00"},
        {"expires_at": "2030-01-01T00:00:00"},
    ],
)
async def test_what_is_not_valid_is_refused(start: Any, gateway: Bus, fields: dict[str, Any]) -> None:
    async with start():
        request = CreateApiKey.model_construct(**{"name": "n", "roles": ["viewer"]} | fields)
        with pytest.raises(InvalidInput):
            await gateway.ask(request, ADMIN)


async def test_a_lost_bucket_is_filled_again(start: Any, admin: Any, gateway: Bus) -> None:
    async with start():
        kept, revoked = await create(gateway), await create(gateway)
        await gateway.ask(RevokeApiKey(key_id=revoked.id), ADMIN)
        person = await gateway.ask(CreateUser(name="ada", roles=[Role.VIEWER]), ADMIN)
        gone = await gateway.ask(CreateUser(name="bob", roles=[Role.VIEWER]), ADMIN)
        await gateway.ask(UpdateUser(user_id=gone.id, disabled=True), ADMIN)
    await admin.jetstream().delete_stream("KV_credentials")
    await provision_bus_over(admin.connected_url.geturl(), [])
    async with start():

        async def is_back() -> bool:
            return await entry(admin, key_digest(kept.secret)) is not None

        await eventually(is_back)
        assert await entry(admin, key_digest(revoked.secret)) is None
        assert len(await signing_keys(admin)) == 1
        assert Credential.model_validate_json((await entry(admin, user_name(person.id))).data).epoch == 1
        assert await entry(admin, user_name(gone.id)) is None


async def signing_keys(admin: Any) -> dict[str, dict[str, Any]]:
    """The public keys in the bucket, by id."""
    prefix = credential_subject(signing_key_name(""))
    info = await admin.jetstream().stream_info("KV_credentials", subjects_filter=f"{prefix}>")
    found = [await admin.jetstream().get_last_msg("KV_credentials", subject) for subject in info.state.subjects or ()]
    kept = [message for message in found if "KV-Operation" not in (message.headers or {})]
    return {message.subject.removeprefix(prefix): json.loads(message.data) for message in kept}


async def published(service: Service) -> None:
    async def is_empty() -> bool:
        async with service.database.connection() as connection:  # type: ignore[union-attr]
            return not await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")

    await eventually(is_empty)


async def test_a_key_signs_until_it_is_lost_or_its_time_is_over(start: Any, admin: Any, key_file: Path) -> None:
    file = key_file.parent.parent / "home" / "signing.keys"
    async with start() as service:
        await published(service)
        first = await signing_keys(admin)
        assert first.keys() == json.loads(file.read_text()).keys() and len(first) == 1
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not any("d" in key for key in first.values())
    async with start() as service:
        await published(service)
        assert await signing_keys(admin) == first
    file.write_text("{broken")
    async with start() as service:
        await published(service)
        both = await signing_keys(admin)
        assert len(both) == 2 and both.keys() > first.keys(), "tokens of the lost key go on"
        assert json.loads(file.read_text()).keys() == both.keys() - first.keys()
        async with service.database.connection() as connection:
            await connection.execute("UPDATE signing_keys SET retires_at = now() - interval '1 second'")
    async with start() as service:
        await published(service)
        last = await signing_keys(admin)
        assert len(last) == 1 and not last.keys() & both.keys()
        assert json.loads(file.read_text()).keys() == last.keys()


async def test_a_revoke_without_a_bus_is_not_answered_as_done(
    start: Any, admin: Any, nats: NatsServer, gateway: Bus
) -> None:
    async with start() as service:
        created = await create(gateway)
        await admin.jetstream().delete_stream("KV_credentials")
        with pytest.raises(Unavailable, match="published later"):
            await gateway.ask(RevokeApiKey(key_id=created.id), ADMIN)
        await provision_bus_over(nats.url, [])

        async def is_published() -> bool:
            return await entry(admin, key_digest(created.secret)) is not None

        await eventually(is_published)
        assert service.readiness.problems() == {}
