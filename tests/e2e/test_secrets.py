"""A run in which every kind of secret is made and used: none is in a log, a trace, a message or a command line."""

import asyncio
import secrets as random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import nats
import psutil
import psycopg
import pytest
from nats.js.api import StreamInfo

from tests.house import House


@dataclass
class Told:
    """The secrets of a stack by what they are for."""

    secrets: dict[str, str]

    def found_in(self, where: str, content: bytes) -> list[str]:
        return [f"{what} in {where}" for what, secret in self.secrets.items() if secret.encode() in content]


@pytest.fixture(scope="module")
def told(house: House, champion: int) -> Told:
    """Made and used, and refused once: refusals are logged too."""
    secrets = {f"the stack's {name}": secret for name, secret in house.stack.plan.secrets.items()}
    secrets["the admin key"] = house.key
    key = house.http.post("/api/v1/api-keys", json={"name": "told", "roles": ["engineer"]}).json()["secret"]
    user = house.http.post("/api/v1/users", json={"name": "told@example.org", "roles": ["viewer"]}).json()
    hook = {"name": "told", "url": "http://127.0.0.1:9/"}
    secrets |= {"an API key": key, "a password": user["password"]}
    secrets["a webhook's secret"] = house.http.post("/api/v1/webhooks", json=hook).json()["secret"].split("_")[1]
    wanted = {"name": "told", "hears": ["aimass.models.*"]}
    extension = house.http.post("/api/v1/extensions", json=wanted)
    assert extension.status_code == 201, extension.text
    secrets["an extension's password"] = extension.json()["credentials"]["password"]
    secrets["a provider's secret"] = random.token_urlsafe(24)
    provider = {"name": "told", "issuer": "https://id.example.org", "public_url": "https://models.example.org"}
    provider |= {"client_id": "told", "default_roles": ["viewer"], "client_secret": secrets["a provider's secret"]}
    assert house.http.post("/api/v1/identity-providers", json=provider).status_code == 201
    signed_in = {"name": user["name"], "password": user["password"]}
    session = house.client(None).post("/api/v1/login", json=signed_in).json()
    secrets |= {"an access token": session["access_token"], "a refresh token": session["refresh_token"]}
    factor = house.client(session["access_token"]).post("/api/v1/me/totp")
    assert factor.status_code == 201, factor.text
    secrets["a second factor"] = factor.json()["secret"]
    for given in (key, secrets["an access token"]):
        assert house.client(given).get("/api/v1/models").status_code == 200
    house.client(None).post("/api/v1/login", json=signed_in | {"password": user["password"] + "x"})
    house.client(key + "x").get("/api/v1/models")
    use(house, key)
    return Told(secrets)


def use(house: House, key: str) -> None:
    pixels = {"items": [{"image": [[[0.0] * 8] * 8]}]}
    with house.client(key) as client:
        for headers in ({}, {"Prefer": "respond-async", "X-Webhook": "told"}):
            client.post("/api/v1/predict/digits-cnn", json=pixels, headers=headers)
    events = house.http.get("/api/v1/events", params={"follow": False, "type": "ApiKeyCreated"}).json()
    assert events["events"]


def test_logs_and_traces_hold_no_secret(house: House, told: Told) -> None:
    home = house.stack.home.path
    files = [path for folder in ("logs", "traces") for path in (home / folder).rglob("*") if path.is_file()]
    assert any(path.stat().st_size for path in files)
    assert [found for path in files for found in told.found_in(path.name, path.read_bytes())] == []


def test_messages_hold_no_secret(house: House, told: Told) -> None:
    streams = asyncio.run(messages(house.stack.info["nats"]))
    assert len(streams["EVT"]) > 1000
    assert [found for name, content in streams.items() for found in told.found_in(name, content)] == []


async def messages(url: str) -> dict[str, bytes]:
    """All that every stream holds, with its subjects and headers."""
    connection = await nats.connect(url)
    js = connection.jetstream()
    found = {info.config.name or "": await whole(js, info) for info in await js.streams_info()}
    await connection.close()
    return found


async def whole(js: Any, info: StreamInfo) -> bytes:
    parts: list[bytes] = []
    if info.state.messages:
        subscription = await js.subscribe("", stream=info.config.name, ordered_consumer=True)
        for _ in range(info.state.messages):
            message = await subscription.next_msg(timeout=10)
            parts += [message.subject.encode(), repr(message.headers).encode(), message.data]
        await subscription.unsubscribe()
    return b"\n".join(parts)


def test_command_lines_hold_no_secret(house: House, told: Told) -> None:
    """But Triton's, which takes its key in no other way: docs/decisions/0002-triton-access-key.md."""
    names = {psutil.Process(pid).name() for pid in house.stack.info["processes"].values()}
    assert len(names) > 2
    lines = {process.pid: b"\0".join(map(str.encode, process.cmdline())) for process in processes(house)}
    found = [one for pid, line in lines.items() for one in told.found_in(str(pid), line)]
    triton = house.stack.info["processes"]["triton"]
    assert found == [f"the stack's triton in {triton}"]


def processes(house: House) -> Iterator[psutil.Process]:
    for pid in house.stack.info["processes"].values():
        yield psutil.Process(pid)
        yield from psutil.Process(pid).children(recursive=True)


def test_the_database_holds_no_secret_in_clear(house: House, told: Told) -> None:
    """As its files have it, which is what a dump or a lost disk would tell."""

    with psycopg.connect(house.stack.info["postgres"], autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        asked = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
        tables = [row for row in connection.execute(asked).fetchall() if not row[0].startswith("pg_")]
        found = []
        for schema, table in tables:
            rows = connection.execute(f'SELECT t::text FROM "{schema}"."{table}" t').fetchall()  # type: ignore[arg-type]
            found += told.found_in(f"{schema}.{table}", "\n".join(row[0] for row in rows).encode())
    assert found == []
