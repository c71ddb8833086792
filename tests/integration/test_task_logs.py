"""Logs of tasks at the gateway: searched, and followed over WebSocket with the rights of the event stream."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wsproto.events import AcceptConnection, CloseConnection, TextMessage

from deploy.embedded.ports import free_port
from deploy.provision import provision_bus_over
from services.gateway import metrics
from services.gateway.handlers import HANDLERS
from shared.credentials import key_digest
from shared.errors import NotFound
from shared.names import new_id
from shared.permissions import Role
from shared.rpc.tasks import TaskView
from shared.streams import REVOKED_SUBJECT, log_subject
from tests.integration.gateway_neighbours import Gateway, bearer, running_gateway
from tests.integration.running import guarded_bus, until
from tests.integration.sockets import socket

TASK = f"train-{new_id()}"
PATH = f"/api/v1/tasks/{TASK}/logs"


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    port = free_port()
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        monkeypatch.setenv("GATEWAY_NATS_URL", server.servers)
        monkeypatch.setenv("GATEWAY_NATS_PASSWORD", "password")
        monkeypatch.setenv("GATEWAY_PORT", str(port))
        monkeypatch.setenv("GATEWAY_MAX_FOLLOWERS", "1")
        await provision_bus_over(server.url, [HANDLERS.declaration])
        async with running_gateway(server, f"http://127.0.0.1:{port}") as started:
            started.neighbours.answers["get_task"] = task()
            yield started


@pytest.fixture
async def admin(gateway: Gateway) -> str:
    key = await gateway.make_key()
    await gateway.becomes(key, 200)
    return key


def task(state: str = "running") -> TaskView:
    return TaskView(id=TASK, project="default", kind="train", model="digits-cnn", state=state)


async def log(gateway: Gateway, line: str, stream: str = "output") -> None:
    body = json.dumps({"at": 1.5, "stream": stream, "line": line, "attempt": 1}).encode()
    await gateway.connection.jetstream().publish(log_subject("default", TASK), body)


async def test_a_log_is_searched(gateway: Gateway, admin: str) -> None:
    for line in ("epoch 1: loss 2.0", "WARNING: the loss rises", "epoch 2: LOSS 3.0", "ERROR: the task failed"):
        await log(gateway, line)
    await log(gateway, "running", "state")

    async def found(query: str) -> list[str]:
        reply = await gateway.http.get(f"{PATH}?{query}", headers=bearer(admin))
        assert reply.status_code == 200, reply.text
        return [line["line"] for line in reply.json()["lines"]]

    assert await found("search=loss") == ["epoch 1: loss 2.0", "WARNING: the loss rises", "epoch 2: LOSS 3.0"]
    assert await found("search=loss&limit=1") == ["epoch 1: loss 2.0"]
    assert await found("level=warning") == ["WARNING: the loss rises", "ERROR: the task failed"]
    assert await found("level=error&stream=output") == ["ERROR: the task failed"]
    assert await found("stream=state") == ["running"]
    reply = (await gateway.http.get(f"{PATH}?search=loss&limit=1", headers=bearer(admin))).json()
    assert reply["more"] and await found(f"search=loss&after={reply['after']}&limit=1") == ["WARNING: the loss rises"]
    for query in ("level=loud", "stream=..", f"search={'x' * 201}"):
        assert (await gateway.http.get(f"{PATH}?{query}", headers=bearer(admin))).status_code == 422


async def test_a_log_is_followed_over_websocket(gateway: Gateway, admin: str) -> None:
    await log(gateway, "line 0")
    await log(gateway, "line 1")
    async with socket(gateway, f"{PATH}/ws", admin) as opened:
        assert isinstance(await opened.event(), AcceptConnection)
        first, second = await opened.said(), await opened.said()
        assert (first["event"], first["data"]["line"], second["data"]["line"]) == ("line", "line 0", "line 1")
        opened.send(TextMessage(data="nobody hears this"))
        await log(gateway, "line 2")
        assert (await opened.said())["data"]["line"] == "line 2"
        gateway.neighbours.answers["get_task"] = task("succeeded")
        end = await opened.said()
        assert (end["event"], end["data"]["state"]) == ("end", "succeeded")
        closed = await opened.event()
        assert isinstance(closed, CloseConnection) and closed.code == 1000
    async with socket(
        gateway, path=f"{PATH}/ws?after={first['id']}", subprotocols=["aimass", f"bearer.{admin}"]
    ) as again:
        accepted = await again.event()
        assert isinstance(accepted, AcceptConnection) and accepted.subprotocol == "aimass"
        assert (await again.said())["data"]["line"] == "line 1"


async def test_who_may_not_see_a_log_gets_no_socket(gateway: Gateway, admin: str) -> None:
    for key, path, status in (
        ("", f"{PATH}/ws", 401),
        ("aim_unknown", f"{PATH}/ws", 401),
        (admin, "/api/v1/ws", 404),
        (admin, f"{PATH}/ws?after=x", 422),
    ):
        async with socket(gateway, path, key) as opened:
            found, problem = await opened.refused()
            assert (found, problem["status"]) == (status, status)
    nobody = await gateway.make_key(Role.VIEWER, roles=())
    await gateway.becomes(nobody, 403, PATH)
    async with socket(gateway, f"{PATH}/ws", nobody) as opened:
        assert (await opened.refused())[0] == 403
    gateway.neighbours.answers["get_task"] = NotFound("there is no such task")
    async with socket(gateway, f"{PATH}/ws", admin) as opened:
        assert (await opened.refused())[0] == 404


async def test_sockets_and_event_streams_share_their_slots(gateway: Gateway, admin: str) -> None:
    async with socket(gateway, f"{PATH}/ws", admin) as first:
        assert isinstance(await first.event(), AcceptConnection)
        await log(gateway, "line")
        await first.said()
        assert (await gateway.http.get(f"{PATH}?follow=true", headers=bearer(admin))).status_code == 503
        async with socket(gateway, f"{PATH}/ws", admin) as second:
            assert (await second.refused())[0] == 503

    async def is_free() -> bool:
        return metrics.FOLLOWERS._value.get() == 0

    await until(is_free)


async def test_a_socket_ends_with_its_key(gateway: Gateway, admin: str) -> None:
    async with socket(gateway, f"{PATH}/ws", admin) as opened:
        assert isinstance(await opened.event(), AcceptConnection)
        await gateway.connection.publish(REVOKED_SUBJECT, key_digest(admin).encode())
        closed = await opened.event()
        assert isinstance(closed, CloseConnection) and closed.code == 1012
