"""Extensions on real servers: what one may do on the bus, what it may not, and how it is cut off."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest
import pytest_asyncio
from nats.js.api import ConsumerConfig

from deploy.embedded.servers import BusUser
from deploy.embedded.testing_servers import PostgresServer, nats_server
from deploy.provision import allow_lists, provision_bus_over
from services.auth.handlers import HANDLERS as AUTH
from services.monitor.app import build as build_monitor
from services.monitor.handlers import HANDLERS as MONITOR
from services.monitor.settings import Settings as MonitorSettings
from shared.bus import ERROR_HEADER
from shared.envelope import Envelope
from shared.errors import Conflict, InvalidInput, NotFound
from shared.events.models import VersionPromoted
from shared.rpc import auth as rpc
from shared.rpc.monitor import GetTimeline, ListDeadLetters
from shared.rpc.projects import ChangeProject, CreateProject
from tests.conftest import fresh_database, settings_on
from tests.integration.extension_kit import EXAMPLES, SECRET, Bed, Extension, comes_in, environment, example, webhook
from tests.integration.running import Ask, asking, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
ORDER = {
    "type": "object",
    "properties": {"amount": {"type": "number", "minimum": 0}, "lines": {"type": "array", "items": {"type": "string"}}},
    "required": ["amount"],
    "additionalProperties": False,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bed]:
    folder = tmp_path_factory.mktemp("extensions")
    users = {each.service: BusUser("password", allow_lists(each.declaration)) for each in (AUTH, MONITOR)}
    users |= {name: BusUser("password") for name in ("gateway", "trainer")}
    with (
        nats_server(folder / "nats", users, SECRET) as server,
        fresh_database(postgres, passwords) as urls,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment(settings_on(server, urls, folder, "auth"), folder).items():
            patch.setenv(name, value)
        await provision_bus_over(server.url, [AUTH.declaration])
        monitor = MonitorSettings.model_validate(settings_on(server, urls, folder, "monitor").model_dump())
        admin = await nats_client.connect(server.url)
        async with running_service(build_monitor(monitor), MONITOR, server):
            bed = Bed(server, admin)
            await bed.start()
            yield bed
            await bed.stop()
        await admin.close()


@pytest.fixture
def admin(bed: Bed) -> Any:
    return bed.admin


@pytest.fixture
def project() -> str:
    """One of its own for each test."""
    return f"p{secrets.token_hex(4)}"


@pytest_asyncio.fixture(loop_scope="module")
async def ask(bed: Bed, project: str) -> AsyncIterator[Ask]:
    async with asking(bed.server) as asked:

        async def within(request: Any, service: str | None = None, **context: Any) -> Any:
            return await asked(request, service, **{"project": project} | context)

        yield within


async def register(ask: Ask, **fields: Any) -> rpc.ExtensionCredentials:
    found = await ask(rpc.RegisterExtension(**{"name": "hook", "hears": ["VersionPromoted"]} | fields))
    return found.credentials


async def promote(admin: Any, project: str, version: int) -> Envelope:
    event = VersionPromoted(model="m", version=version)
    envelope = Envelope(event.type_name(), "registry", event.aggregate, project=project, correlation_id=project)
    body = event.model_dump_json().encode()
    await admin.jetstream().publish(event.subject(project), body, headers=envelope.to_headers())
    return envelope


def problem(message: Any) -> dict[str, Any]:
    assert (message.headers or {}).get(ERROR_HEADER), message.data
    found: dict[str, Any] = json.loads(message.data)
    return found


async def test_one_reads_history_of_its_own_project_at_its_own_pace(admin: Any, ask: Ask, project: str) -> None:
    for version in (1, 2, 3):
        await promote(admin, project, version)
        await promote(admin, f"{project}x", version + 10)
    past = await register(ask, start="all", max_ack_pending=2)
    await register(ask, name="late")
    await promote(admin, project, 4)
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
        [f"evt.{project}.models.v1.version_promoted"],
    )


async def test_one_begins_at_a_time(admin: Any, ask: Ask, project: str) -> None:
    await promote(admin, project, 1)
    await asyncio.sleep(0.05)
    since = datetime.now(UTC)
    await promote(admin, project, 2)
    async with Extension(await register(ask, start=since)) as extension:
        assert [event["version"] for event in await extension.events(1)] == [2]


REFUSED_PUBLISHING = (
    "evt.PROJECT.models.v1.version_promoted",
    "evt.PROJECT.ext-hook.v1.order_placed",
    "evt.PROJECT.ext-other.v1.order_placed",
    "cmd.PROJECT.trainer.v1.train_model",
    "rpc.registry.list_models",
    "ext.PROJECT.other.v1.order_placed",
    "ext.other.hook.v1.order_placed",
    "ext.PROJECT.hook.v1.not_registered",
    "dlq.monitor.EVT-1",
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
    "$JS.API.DIRECT.GET.EVT.evt.PROJECT.models.v1.version_promoted",
    "$JS.API.CONSUMER.CREATE.EVT.mine",
    "$JS.API.CONSUMER.CREATE.EVT.ext:PROJECT:hook",
    "$JS.API.CONSUMER.DURABLE.CREATE.EVT.mine",
    "$JS.API.CONSUMER.DELETE.EVT.ext:PROJECT:hook",
    "$JS.API.CONSUMER.PAUSE.EVT.ext:PROJECT:hook",
    "$JS.API.CONSUMER.LIST.EVT",
    "$JS.API.CONSUMER.INFO.EVT.monitor",
    "$JS.API.CONSUMER.INFO.EVT.ext:PROJECT:other",
    "$JS.API.CONSUMER.MSG.NEXT.EVT.monitor",
    "$JS.API.CONSUMER.MSG.NEXT.EVT.ext:PROJECT:other",
    "$JS.API.CONSUMER.MSG.NEXT.DLQ.ext:PROJECT:hook",
    "$JS.ACK.EVT.ext:PROJECT:other.1.1.1.1.1",
    "$JS.ACK.EVT.monitor.1.1.1.1.1",
    "_INBOX_gateway.x",
    "_INBOX_ext.PROJECT.other.x",
)
REFUSED_HEARING = (
    ">",
    "evt.>",
    "evt.PROJECT.>",
    "pred.>",
    "log.>",
    "rpc.>",
    "ext.>",
    "ext.PROJECT.hook.v1.order_placed",
    "$SYS.>",
    "$SYS.REQ.USER.AUTH",
    "$JS.API.>",
    "$JS.EVENT.>",
    "$KV.>",
    "_INBOX.>",
    "_INBOX_ext.>",
    "_INBOX_ext.PROJECT.>",
    "_INBOX_ext.PROJECT.other.>",
    "_INBOX_auth.>",
)


async def test_the_bus_refuses_everything_else(ask: Ask, project: str) -> None:
    async with Extension(await register(ask, says={"order_placed": ORDER})) as extension:
        for subject in (each.replace("PROJECT", project) for each in REFUSED_PUBLISHING):
            await extension.client.publish(subject, b"{}")
            assert await extension.is_refused("publish", subject), subject
        for subject in (each.replace("PROJECT", project) for each in REFUSED_HEARING):
            await extension.client.subscribe(subject)
            assert await extension.is_refused("subscription", subject), subject
        assert extension.refused.empty() and not extension.gone.is_set()


async def test_a_right_that_is_taken_cuts_off_at_once(ask: Ask, admin: Any, project: str) -> None:
    old = await register(ask)
    async with Extension(old) as extension, asyncio.timeout(60):
        new = (await ask(rpc.RotateExtension(name="hook"))).credentials
        await extension.gone.wait()
    assert new.password != old.password and not await comes_in(old)
    async with Extension(new) as extension, asyncio.timeout(60):
        assert (await ask(rpc.ChangeExtension(name="hook", disabled=True))).disabled_at is not None
        await extension.gone.wait()
    assert not await comes_in(new)
    await promote(admin, project, 1)
    assert (await ask(rpc.ChangeExtension(name="hook", disabled=False))).disabled_at is None
    async with Extension(new) as extension, asyncio.timeout(60):
        assert [event["version"] for event in await extension.events(1)] == [1]
        await ask(rpc.DeleteExtension(name="hook"))
        await extension.gone.wait()
    assert not await comes_in(new)
    assert new.consumer not in {info.name for info in await admin.jetstream().consumers_info("EVT")}
    for request in (rpc.GetExtension, rpc.DeleteExtension, rpc.RotateExtension, rpc.ChangeExtension):
        with pytest.raises(NotFound):
            await ask(request(name="hook"))


async def test_those_of_an_archived_project_are_put_out(ask: Ask, project: str) -> None:
    as_platform: dict[str, Any] = {"service": "auth", "project": "default"}
    await ask(CreateProject(name=project), **as_platform)
    hook = await register(ask)
    async with Extension(hook) as extension, asyncio.timeout(60):
        await ask(ChangeProject(name=project, archived=True), **as_platform)
        await extension.gone.wait()
    assert not await comes_in(hook)
    await ask(ChangeProject(name=project, archived=False), **as_platform)
    assert await comes_in(hook)


async def test_no_other_project_sees_it_and_no_name_is_given_twice(ask: Ask, project: str) -> None:
    await register(ask)
    for request in (rpc.GetExtension, rpc.DeleteExtension, rpc.RotateExtension, rpc.ChangeExtension):
        with pytest.raises(NotFound):
            await ask(request(name="hook"), project=f"{project}x")
    assert (await ask(rpc.ListExtensions(), project=f"{project}x")).extensions == []
    with pytest.raises(Conflict):
        await register(ask)
    theirs = (await ask(rpc.RegisterExtension(name="hook", hears=["models.>"]), project=f"{project}x")).credentials
    assert theirs.consumer == f"ext:{project}x:hook" and theirs.user == f"ext.{project}x.hook"


async def test_own_events_are_checked_and_heard_by_others(ask: Ask, admin: Any, project: str) -> None:
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
            assert answer == {"id": "order-17", "subject": f"evt.{project}.ext-shop.v1.order_placed"}
        assert await reader.events(1) == [{"subject": answer["subject"], "amount": 7}]
    assert (await admin.jetstream().stream_info("EVT", subjects_filter="evt.*.ext-shop.>")).state.subjects == {
        f"evt.{project}.ext-shop.v1.order_placed": 1
    }
    message = await admin.jetstream().get_last_msg("EVT", answer["subject"])
    told = {name: message.headers[name] for name in ("ce-source", "ce-type", "ce-correlationid", "aimass-actor")}
    assert told == {
        "ce-source": f"ext-shop/{project}",
        "ce-type": "ext-shop.v1.order_placed",
        "ce-correlationid": "cause-1",
        "aimass-actor": f"ext-shop/{project}",
    }


async def test_a_proto_does_as_well(ask: Ask) -> None:
    mine = await register(ask, hears=[], says={"order_placed": "message A { uint32 amount = 1; }"})
    async with Extension(mine) as extension:
        assert problem(await extension.say("order_placed", {"amount": -1}))["field"] == "data.amount"
        assert json.loads((await extension.say("order_placed", {"amount": 1})).data)["id"]


async def test_one_that_says_too_much_is_told_to_wait(ask: Ask) -> None:
    mine = await register(ask, hears=[], says={"order_placed": ORDER}, events_per_second=1)
    async with Extension(mine) as extension:
        answers = await asyncio.gather(*(extension.say("order_placed", {"amount": 1}) for _ in range(20)))
    refused = [problem(answer) for answer in answers if answer.headers]
    assert refused and all(each["code"] == "too_many_events" and each["retry_after"] == 1 for each in refused)
    assert len(refused) < len(answers)


async def test_without_auth_the_platform_comes_in_and_an_extension_does_not(ask: Ask, bed: Bed, project: str) -> None:
    mine = await register(ask)
    assert await comes_in(mine)
    assert not await comes_in(mine.model_copy(update={"password": "wrong"}))
    for user in (f"ext.{project}.unknown", f"ext.{project}x.hook", "someone"):
        assert not await comes_in(mine.model_copy(update={"user": user}))
    await bed.stop()
    assert not await comes_in(mine)
    for user in bed.server.users:
        connection = await nats_client.connect(bed.server.url_for(user))
        await connection.close()
    await bed.start()
    assert await comes_in(mine)


async def test_what_differs_is_put_right(ask: Ask, bed: Bed, project: str) -> None:
    mine = await register(ask)
    stream, gone = bed.admin.jetstream(), f"ext:{project}:gone"
    await stream.delete_consumer("EVT", mine.consumer)
    await stream.add_consumer("EVT", ConsumerConfig(name=gone, durable_name=gone))

    async def is_right() -> bool:
        names = {info.name for info in await stream.consumers_info("EVT")}
        return mine.consumer in names and gone not in names

    await bed.stop()
    await bed.start()
    await until(is_right)


async def test_secrets_stand_nowhere(ask: Ask, bed: Bed, capfd: pytest.CaptureFixture[str]) -> None:
    mine = await register(ask)
    async with Extension(mine):
        rotated = (await ask(rpc.RotateExtension(name="hook"))).credentials
    assert bed.service.database is not None
    async with bed.service.database.connection() as connection:
        for table in ("extensions", "outbox", "idempotency"):
            for row in await connection.fetch(f"SELECT {table}::text AS whole FROM {table}"):
                assert mine.password not in row["whole"] and rotated.password not in row["whole"]
        said = [row["headers"].get("ce-type") for row in await connection.fetch("SELECT headers FROM outbox")]
    assert {"aimass.identity.v1.ExtensionRegistered", "aimass.identity.v1.ExtensionPasswordRotated"} <= set(said)
    written = "".join(capfd.readouterr())
    assert mine.password not in written and rotated.password not in written


async def test_registering_names_the_wrong_field(ask: Ask) -> None:
    elsewhere = {"type": "object", "properties": {"a": {"$ref": "https://example.com/"}}}
    wrong: dict[str, dict[str, Any]] = {
        "hears": {"hears": ["models.>", "VersionPromoted"]},
        "says.order_placed": {"says": {"order_placed": elsewhere}},
        "start": {"start": datetime(2200, 1, 1, tzinfo=UTC)},
    }
    for field, fields in wrong.items():
        with pytest.raises(InvalidInput) as raised:
            await register(ask, **fields)
        assert raised.value.field == field
    assert (await ask(rpc.ListExtensions())).extensions == []


async def test_the_examples_run_as_extensions(ask: Ask, admin: Any, project: str, tmp_path: Path) -> None:
    said = {"promotion_posted": json.loads((EXAMPLES / "promotion_posted.schema.json").read_text())}
    poster = await register(ask, name="poster", start="all", says=said)
    reader = await register(ask, name="reader", hears=["ext-poster.v1.*", "models.>"], start="all")
    files = [tmp_path / "poster.json", tmp_path / "reader.json"]
    for credentials, file in zip((poster, reader), files, strict=True):
        file.write_text(credentials.model_dump_json())
    promoted = [await promote(admin, project, version) for version in (1, 2)]
    with webhook(failures=1) as (url, taken):
        given = (url, "--credentials", str(files[0]), "--most", "2", "--seconds", "30")
        lines = await example("post_promotions", *given)
    assert sorted(event["version"] for event in taken) == [1, 2]
    assert {event["id"] for event in taken} == {envelope.id for envelope in promoted}
    assert lines[0].startswith("not posted, again in 2 s")
    lines = await example("read_events", "--credentials", str(files[1]), "--most", "4", "--seconds", "30")
    heard = [json.loads(line) for line in lines]
    own = [event for event in heard if event["type"] == "ext-poster.v1.promotion_posted"]
    assert len(heard) == 4 and {event["causationid"] for event in own} == {envelope.id for envelope in promoted}

    async def has_all() -> Any:
        return len((timeline := await ask(GetTimeline(correlation_id=project))).events) == 4 and timeline

    shown = {event.type: event.data for event in (await until(has_all)).events}
    assert shown["ext-poster.v1.promotion_posted"]["to"] == url
    assert (await ask(ListDeadLetters())).letters == []
