"""Extensions on real servers: what one may do on the bus, what it may not, and how it is cut off."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest
from nats.aio.client import Client

from deploy.embedded.servers import BusUser
from deploy.embedded.testing_servers import NatsServer, nats_server
from deploy.provision import allow_lists, provision_bus_over
from services.auth.app import build
from services.auth.handlers import HANDLERS
from shared.bus import ERROR_HEADER
from shared.errors import Conflict, InvalidInput, NotFound
from shared.events.models import VersionPromoted
from shared.rpc import auth as rpc
from shared.service import Service
from shared.settings import ServiceSettings
from tests.integration.running import Ask, asking, until

SECRET = "a secret of this test"
ORDER = {
    "type": "object",
    "properties": {"amount": {"type": "number", "minimum": 0}, "lines": {"type": "array", "items": {"type": "string"}}},
    "required": ["amount"],
    "additionalProperties": False,
}


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A bus on which auth may do what it declares, and which asks auth about everybody else."""
    users = {"auth": BusUser("password", allow_lists(HANDLERS.declaration)), "gateway": BusUser("password")}
    with nats_server(tmp_path / "nats", users, SECRET) as server:
        yield server


@pytest.fixture
def start(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    settings = settings_of("auth")
    given = {
        "NATS_URL": settings.nats_url,
        "NATS_PASSWORD": settings.nats_password.get_secret_value(),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "ADMIN_KEY_FILE": str(tmp_path / "admin.key"),
        "HOME_DIR": str(tmp_path / "home"),
        "CALLOUT_SECRET": SECRET,
    }
    for name, value in given.items():
        monkeypatch.setenv(f"AUTH_{name}", value)

    @asynccontextmanager
    async def run() -> AsyncIterator[Service]:
        await provision_bus_over(nats.url, [HANDLERS.declaration])
        service = build()
        task = asyncio.create_task(service.run())

        async def is_ready() -> bool:
            return task.done() or not service.readiness.problems()

        await until(is_ready)
        yield service
        service.stop()
        await task

    return run


@pytest.fixture
async def admin(nats: NatsServer) -> AsyncIterator[Any]:
    connection = await nats_client.connect(nats.url)
    yield connection
    await connection.close()


@pytest.fixture
async def auth(start: Any) -> AsyncIterator[Service]:
    async with start() as service:
        yield service


@pytest.fixture
async def ask(auth: Service, nats: NatsServer) -> AsyncIterator[Ask]:
    async with asking(nats) as asked:
        yield asked


class Extension:
    """A plain client with the credentials of the answer, and what the bus refused it."""

    def __init__(self, credentials: rpc.ExtensionCredentials) -> None:
        self.credentials, self.refused = credentials, asyncio.Queue[str]()
        self.client, self.gone = Client(), asyncio.Event()

    async def __aenter__(self) -> "Extension":
        given = self.credentials

        async def note(error: Exception) -> None:
            self.refused.put_nowait(str(error))

        async def leave() -> None:
            self.gone.set()

        await self.client.connect(
            given.url,
            user=given.user,
            password=given.password,
            inbox_prefix=given.inbox_prefix.encode(),
            allow_reconnect=False,
            error_cb=note,
            disconnected_cb=leave,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def events(self, count: int) -> list[dict[str, Any]]:
        stream = self.client.jetstream()
        pulled = await stream.pull_subscribe_bind(self.credentials.consumer, self.credentials.stream)
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while len(found) < count:
                for message in await pulled.fetch(1, timeout=30):
                    await message.ack_sync()
                    found.append({"subject": message.subject, **json.loads(message.data)})
        return found

    async def say(self, fact: str, data: Any, **headers: str) -> Any:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        on = self.credentials.publish[fact]
        return await self.client.request(on, body, timeout=30, headers=headers or None)

    async def is_refused(self, what: str, subject: str) -> bool:
        async with asyncio.timeout(60):
            while True:
                told = (await self.refused.get()).lower()
                if f'permissions violation for {what} to "{subject.lower()}"' in told:
                    return True


async def register(ask: Ask, **fields: Any) -> rpc.ExtensionCredentials:
    found = await ask(rpc.RegisterExtension(**{"name": "hook", "hears": ["VersionPromoted"]} | fields))
    return found.credentials


async def promote(admin: Any, version: int, project: str = "default") -> None:
    body = VersionPromoted(model="m", version=version).model_dump_json().encode()
    await admin.jetstream().publish(VersionPromoted.subject(project), body)


def problem(message: Any) -> dict[str, Any]:
    assert (message.headers or {}).get(ERROR_HEADER), message.data
    found: dict[str, Any] = json.loads(message.data)
    return found


async def test_one_reads_history_of_its_own_project_at_its_own_pace(admin: Any, ask: Ask) -> None:
    for version in (1, 2, 3):
        await promote(admin, version)
        await promote(admin, version + 10, project="other")
    past = await register(ask, start="all", max_ack_pending=2)
    await register(ask, name="late")
    await promote(admin, 4)
    shown = await ask(rpc.GetExtension(name="hook"))
    assert shown.lag is not None and shown.lag.waiting == 4
    async with Extension(past) as extension:
        assert [event["version"] for event in await extension.events(3)] == [1, 2, 3]
        first = await extension.client.jetstream().pull_subscribe_bind(past.consumer, past.stream)
        (held,) = await first.fetch(1, timeout=30)
        lags = {each.name: each.lag for each in (await ask(rpc.ListExtensions())).extensions}
        assert lags["hook"] is not None and (lags["hook"].waiting, lags["hook"].unanswered) == (0, 1)
        assert lags["late"] is not None and lags["late"].waiting == 1
        await held.ack_sync()
    shown = await ask(rpc.GetExtension(name="hook"))
    assert shown.lag is not None and (shown.lag.waiting, shown.lag.unanswered) == (0, 0)
    config = (await admin.jetstream().consumer_info("EVT", past.consumer)).config
    assert (config.max_ack_pending, config.max_waiting, config.filter_subjects or [config.filter_subject]) == (
        2,
        16,
        ["evt.default.models.v1.version_promoted"],
    )


async def test_one_begins_at_a_time(admin: Any, ask: Ask) -> None:
    await promote(admin, 1)
    await asyncio.sleep(0.05)
    since = datetime.now(UTC)
    await promote(admin, 2)
    async with Extension(await register(ask, start=since)) as extension:
        assert [event["version"] for event in await extension.events(1)] == [2]


REFUSED_PUBLISHING = (
    "evt.default.models.v1.version_promoted",
    "evt.default.ext-hook.v1.order_placed",
    "evt.default.ext-other.v1.order_placed",
    "cmd.default.trainer.v1.train_model",
    "rpc.registry.list_models",
    "ext.default.other.v1.order_placed",
    "ext.other.hook.v1.order_placed",
    "ext.default.hook.v1.not_registered",
    "dlq.monitor",
    "retry.monitor",
    "auth.revoked",
    "$KV.credentials.x",
    "$SYS.REQ.SERVER.PING.CONNZ",
    "$SYS.REQ.USER.AUTH",
    "$JS.API.INFO",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.INFO.EVT",
    "$JS.API.STREAM.DELETE.EVT",
    "$JS.API.STREAM.PURGE.EVT",
    "$JS.API.STREAM.MSG.GET.EVT",
    "$JS.API.DIRECT.GET.EVT",
    "$JS.API.DIRECT.GET.EVT.evt.default.models.v1.version_promoted",
    "$JS.API.CONSUMER.CREATE.EVT.mine",
    "$JS.API.CONSUMER.CREATE.EVT.ext:default:hook",
    "$JS.API.CONSUMER.DURABLE.CREATE.EVT.mine",
    "$JS.API.CONSUMER.DELETE.EVT.ext:default:hook",
    "$JS.API.CONSUMER.PAUSE.EVT.ext:default:hook",
    "$JS.API.CONSUMER.LIST.EVT",
    "$JS.API.CONSUMER.INFO.EVT.monitor",
    "$JS.API.CONSUMER.INFO.EVT.ext:default:other",
    "$JS.API.CONSUMER.MSG.NEXT.EVT.monitor",
    "$JS.API.CONSUMER.MSG.NEXT.EVT.ext:default:other",
    "$JS.API.CONSUMER.MSG.NEXT.DLQ.ext:default:hook",
    "$JS.ACK.EVT.ext:default:other.1.1.1.1.1",
    "$JS.ACK.EVT.monitor.1.1.1.1.1",
    "_INBOX_gateway.x",
    "_INBOX_ext.default.other.x",
)
REFUSED_HEARING = (
    ">",
    "evt.>",
    "evt.default.>",
    "pred.>",
    "log.>",
    "rpc.>",
    "ext.>",
    "ext.default.hook.v1.order_placed",
    "$SYS.>",
    "$SYS.REQ.USER.AUTH",
    "$JS.API.>",
    "$JS.EVENT.>",
    "$KV.>",
    "_INBOX.>",
    "_INBOX_ext.>",
    "_INBOX_ext.default.>",
    "_INBOX_ext.default.other.>",
    "_INBOX_auth.>",
)


async def test_the_bus_refuses_everything_else(ask: Ask) -> None:
    async with Extension(await register(ask, says={"order_placed": ORDER})) as extension:
        for subject in REFUSED_PUBLISHING:
            await extension.client.publish(subject, b"{}")
            assert await extension.is_refused("publish", subject), subject
        for subject in REFUSED_HEARING:
            await extension.client.subscribe(subject)
            assert await extension.is_refused("subscription", subject), subject
        assert extension.refused.empty() and not extension.gone.is_set()


async def comes_in(credentials: rpc.ExtensionCredentials) -> bool:
    try:
        async with Extension(credentials):
            return True
    except Exception as error:
        assert "authorization violation" in str(error).lower(), error
        return False


async def test_a_right_that_is_taken_cuts_off_at_once(ask: Ask, admin: Any) -> None:
    old = await register(ask)
    async with Extension(old) as extension, asyncio.timeout(60):
        new = (await ask(rpc.RotateExtension(name="hook"))).credentials
        await extension.gone.wait()
    assert new.password != old.password and not await comes_in(old)
    async with Extension(new) as extension, asyncio.timeout(60):
        assert (await ask(rpc.ChangeExtension(name="hook", disabled=True))).disabled_at is not None
        await extension.gone.wait()
    assert not await comes_in(new)
    await promote(admin, 1)
    assert (await ask(rpc.ChangeExtension(name="hook", disabled=False))).disabled_at is None
    async with Extension(new) as extension, asyncio.timeout(60):
        assert [event["version"] for event in await extension.events(1)] == [1]
        await ask(rpc.DeleteExtension(name="hook"))
        await extension.gone.wait()
    assert not await comes_in(new)
    assert [info.name for info in await admin.jetstream().consumers_info("EVT")] == []
    for request in (rpc.GetExtension, rpc.DeleteExtension, rpc.RotateExtension, rpc.ChangeExtension):
        with pytest.raises(NotFound):
            await ask(request(name="hook"))


async def test_no_other_project_sees_it_and_no_name_is_given_twice(ask: Ask) -> None:
    await register(ask)
    for request in (rpc.GetExtension, rpc.DeleteExtension, rpc.RotateExtension, rpc.ChangeExtension):
        with pytest.raises(NotFound):
            await ask(request(name="hook"), project="other")
    assert (await ask(rpc.ListExtensions(), project="other")).extensions == []
    with pytest.raises(Conflict):
        await register(ask)
    theirs = (await ask(rpc.RegisterExtension(name="hook", hears=["models.>"]), project="other")).credentials
    assert theirs.consumer == "ext:other:hook" and theirs.user == "ext.other.hook"


async def test_own_events_are_checked_and_heard_by_others(ask: Ask, admin: Any) -> None:
    shop = await register(
        ask, name="shop", hears=[], says={"order_placed": ORDER}, max_bytes=1024, events_per_second=100
    )
    other = await register(ask, name="ledger", hears=["ext-shop.>"])
    async with Extension(shop) as extension, Extension(other) as reader:
        wrong: dict[str, Any] = {
            "data.amount": {"amount": -1},
            "data.lines.1": {"amount": 1, "lines": ["a", 2]},
            "data": b"[1]",
        }
        for field, data in wrong.items():
            assert problem(await extension.say("order_placed", data))["field"] == field
        for data in (b"{", b'{"amount": NaN}', b'{"amount": 1, "amount": -1}', b"{" * 1000, {}, {"amount": 1, "x": 1}):
            assert problem(await extension.say("order_placed", data))["code"] == "invalid_input"
        large = {"amount": 1, "lines": ["x" * 1100]}
        assert problem(await extension.say("order_placed", large))["code"] == "too_large"
        headers = {"ce-id": "order-17", "ce-correlationid": "cause-1", "ce-source": "registry", "aimass-actor": "admin"}
        for _ in range(2):
            answer = json.loads((await extension.say("order_placed", {"amount": 7}, **headers)).data)
            assert answer == {"id": "order-17", "subject": "evt.default.ext-shop.v1.order_placed"}
        assert await reader.events(1) == [{"subject": answer["subject"], "amount": 7}]
    assert (await admin.jetstream().stream_info("EVT", subjects_filter="evt.*.ext-shop.>")).state.subjects == {
        "evt.default.ext-shop.v1.order_placed": 1
    }
    message = await admin.jetstream().get_last_msg("EVT", answer["subject"])
    told = {name: message.headers[name] for name in ("ce-source", "ce-type", "ce-correlationid", "aimass-actor")}
    assert told == {
        "ce-source": "ext-shop/default",
        "ce-type": "ext-shop.v1.order_placed",
        "ce-correlationid": "cause-1",
        "aimass-actor": "ext-shop/default",
    }


async def test_one_that_says_too_much_is_told_to_wait(ask: Ask) -> None:
    mine = await register(ask, hears=[], says={"order_placed": ORDER}, events_per_second=1)
    async with Extension(mine) as extension:
        answers = await asyncio.gather(*(extension.say("order_placed", {"amount": 1}) for _ in range(20)))
    refused = [problem(answer) for answer in answers if answer.headers]
    assert refused and all(each["code"] == "too_many_events" and each["retry_after"] == 1 for each in refused)
    assert len(refused) < len(answers)


async def test_without_auth_the_platform_comes_in_and_an_extension_does_not(start: Any, nats: NatsServer) -> None:
    async with start(), asking(nats) as ask:
        mine = await register(ask)
        assert await comes_in(mine)
        assert not await comes_in(mine.model_copy(update={"password": "wrong"}))
        assert not await comes_in(mine.model_copy(update={"user": "ext.default.unknown"}))
        assert not await comes_in(mine.model_copy(update={"user": "someone"}))
    assert not await comes_in(mine)
    for user in ("gateway", "auth", "admin"):
        connection = await nats_client.connect(nats.url_for(user))
        await connection.close()
    async with start():
        assert await comes_in(mine)


async def test_what_differs_is_put_right(ask: Ask, admin: Any, start: Any, auth: Service) -> None:
    mine = await register(ask)
    stream = admin.jetstream()
    await stream.delete_consumer("EVT", mine.consumer)
    orphan = nats_client.js.api.ConsumerConfig(name="ext:default:gone", durable_name="ext:default:gone")
    await stream.add_consumer("EVT", orphan)

    async def is_right() -> bool:
        return [info.name for info in await stream.consumers_info("EVT")] == [mine.consumer]

    async with start():  # a second one looks at once
        await until(is_right)


async def test_secrets_stand_nowhere(ask: Ask, auth: Service, capfd: pytest.CaptureFixture[str]) -> None:
    mine = await register(ask)
    async with Extension(mine):
        rotated = (await ask(rpc.RotateExtension(name="hook"))).credentials
    assert auth.database is not None
    async with auth.database.connection() as connection:
        for table in ("extensions", "outbox", "idempotency"):
            for row in await connection.fetch(f"SELECT {table}::text AS whole FROM {table}"):
                assert mine.password not in row["whole"] and rotated.password not in row["whole"]
        said = [row["headers"].get("ce-type") for row in await connection.fetch("SELECT headers FROM outbox")]
    assert {"aimass.identity.v1.ExtensionRegistered", "aimass.identity.v1.ExtensionPasswordRotated"} <= set(said)
    written = "".join(capfd.readouterr())
    assert mine.password not in written and rotated.password not in written


async def test_registering_names_the_wrong_field(ask: Ask) -> None:
    for fields, field in (
        ({"hears": []}, "hears"),
        ({"hears": ["models.>", "VersionPromoted"]}, "hears"),
        ({"says": {"order_placed": {"type": "object", "properties": {"a": {"$ref": "https://x/y"}}}}}, "says"),
    ):
        with pytest.raises(InvalidInput) as raised:
            await register(ask, **fields)
        assert (raised.value.field or "").startswith(field)
    assert (await ask(rpc.ListExtensions())).extensions == []
