"""Events over WebSocket: the filters, places and rights of the event stream; readers that take nothing are cut off."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from wsproto.events import AcceptConnection

from deploy.embedded.ports import free_port
from deploy.provision import provision_bus_over
from services.gateway import metrics, sse
from services.gateway.handlers import HANDLERS
from shared.envelope import Envelope
from shared.events.base import Event
from shared.events.evaluation import EvaluationCompleted
from shared.events.models import ModelArchived
from shared.permissions import Role
from tests.integration.gateway_neighbours import Gateway, running_gateway
from tests.integration.running import guarded_bus, until
from tests.integration.sockets import socket

PATH = "/api/v1/events/ws"


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    port = free_port()
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        monkeypatch.setenv("GATEWAY_NATS_URL", server.servers)
        monkeypatch.setenv("GATEWAY_NATS_PASSWORD", "password")
        monkeypatch.setenv("GATEWAY_PORT", str(port))
        await provision_bus_over(server.url, [HANDLERS.declaration])
        async with running_gateway(server, f"http://127.0.0.1:{port}") as started:
            yield started


@pytest.fixture
async def admin(gateway: Gateway) -> str:
    key = await gateway.make_key()
    await gateway.becomes(key, 200)
    return key


async def say(gateway: Gateway, event: Event, project: str = "default", actor: str = "") -> int:
    envelope = Envelope(event.type_name(), "test", event.aggregate, project=project, actor=actor)
    subject, body = event.subject(project), event.model_dump_json().encode()
    stored = await gateway.connection.jetstream().publish(subject, body, headers=envelope.to_headers())
    return stored.seq


async def test_events_come_with_filters_and_go_on_where_they_stood(gateway: Gateway, admin: str) -> None:
    since = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    await say(gateway, ModelArchived(model="a"), actor="bob")
    first = await say(gateway, ModelArchived(model="b"), actor="ada")
    await say(gateway, ModelArchived(model="c"), "another", actor="ada")
    async with socket(gateway, f"{PATH}?since={since}&domain=models&actor=ada", admin) as opened:
        assert isinstance(await opened.event(), AcceptConnection)
        said = await opened.said()
        assert (said["event"], said["id"], said["data"]["subject"]) == ("event", first, "models/b")
        assert said["data"]["position"] == first
        await say(gateway, EvaluationCompleted(), actor="ada")
        await say(gateway, ModelArchived(model="d"), actor="ada")
        last = await opened.said()
        assert last["data"]["data"]["model"] == "d"
    for place in (f"after={first}", f"last_event_id={first}"):
        async with socket(gateway, f"{PATH}?{place}&domain=models", admin) as again:
            assert isinstance(await again.event(), AcceptConnection)
            assert (await again.said())["id"] == last["id"]


async def test_what_is_wrong_is_refused_in_words(gateway: Gateway, admin: str) -> None:
    for query, field in (
        ("type=ModelArchivd", "type"),
        ("since=yesterday", "since"),
        ("limit=4", "limit"),
        ("folow=1", "folow"),
        ("last_event_id=x", "last_event_id"),
    ):
        async with socket(gateway, f"{PATH}?{query}", admin) as opened:
            status, problem = await opened.refused()
            assert (query, status, problem["field"]) == (query, 422, field)
    nobody = await gateway.make_key(Role.VIEWER, roles=())
    await gateway.becomes(nobody, 403, "/api/v1/events")
    for key, status in ((nobody, 403), ("", 401)):
        async with socket(gateway, PATH, key) as opened:
            assert (await opened.refused())[0] == status


async def test_a_reader_that_takes_nothing_gives_up_its_place(
    gateway: Gateway, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "SLOW_SECONDS", 0.3)
    event = EvaluationCompleted(report={"matrix": "x" * 800_000})
    async with socket(gateway, f"{PATH}?since=1970-01-01T00:00:00Z", admin) as opened:
        assert isinstance(await opened.event(), AcceptConnection)
        for _ in range(20):
            await say(gateway, event)

        async def is_gone() -> bool:
            return metrics.FOLLOWERS._value.get() == 0

        await until(is_gone)
    async with gateway.http.stream(
        "GET", "/api/v1/events?since=1970-01-01T00:00:00Z", headers={"Authorization": f"Bearer {admin}"}
    ) as reply:
        assert reply.status_code == 200
        await until(is_gone)
