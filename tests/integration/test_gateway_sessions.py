"""Sessions at the gateway: all that it needs for access tokens stands in the bucket; here nobody else answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.ports import free_port
from deploy.provision import provision_bus_over
from services.auth import tokens, users
from services.auth.users import User
from services.gateway.handlers import HANDLERS
from shared.credentials import credential_subject
from shared.names import new_id
from shared.permissions import Role
from shared.tokens import LEEWAY_SECONDS, signing_key_name, user_name
from tests.integration.gateway_neighbours import Gateway, bearer, running_gateway
from tests.integration.running import guarded_bus, until


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


def a_user() -> User:
    return users.draft("ada", [Role.OPERATOR], "", project="default", by="me", now=datetime.now(UTC))


async def put(gateway: Gateway, name: str, body: bytes, **headers: str) -> None:
    await gateway.connection.jetstream().publish(credential_subject(name), body, headers=headers)


async def put_user(gateway: Gateway, user: User) -> None:
    await put(gateway, user_name(user.id), user.credential().model_dump_json().encode())


async def put_key(gateway: Gateway, private: dict[str, Any]) -> None:
    await put(gateway, signing_key_name(private["kid"]), json.dumps(tokens.public_half(private)).encode())


async def test_a_session_lasts_until_its_user_or_its_key_goes(gateway: Gateway) -> None:
    ada, private = a_user(), tokens.new_private_key()
    await put_key(gateway, private)
    await put_user(gateway, ada)
    token = tokens.issue(ada, private, datetime.now(UTC), 900)
    await gateway.becomes(token, 200)
    later = users.with_password(ada, "")
    await put_user(gateway, later)
    await gateway.becomes(token, 401)
    another = tokens.issue(later, private, datetime.now(UTC), 900)
    assert await gateway.status(another) == 200
    await put(gateway, user_name(ada.id), b"", **{"KV-Operation": "DEL"})
    await gateway.becomes(another, 401)
    await put_user(gateway, later)
    await gateway.becomes(another, 200)
    await put(gateway, signing_key_name(private["kid"]), b"", **{"KV-Operation": "DEL"})
    await gateway.becomes(another, 401)


async def test_tokens_end(gateway: Gateway) -> None:
    ada, private = a_user(), tokens.new_private_key()
    await put_key(gateway, private)
    await put_user(gateway, ada)
    await gateway.becomes(tokens.issue(ada, private, datetime.now(UTC), 900), 200)
    token = tokens.issue(ada, private, datetime.now(UTC) - timedelta(seconds=LEEWAY_SECONDS - 2), 1)
    await gateway.becomes(token, 200)
    await gateway.becomes(token, 401)
    assert "expired" in (await gateway.http.get("/v2", headers=bearer(token))).json()["error"]


async def test_entries_that_cannot_be_read_harm_no_others(gateway: Gateway) -> None:
    short, other = b'{"kty": "OKP", "crv": "Ed25519", "x": "AA"}', b'{"kty": "oct", "k": "AA"}'
    for body in (b"{}", b"[" * 50_000, b"null", short, other):
        await put(gateway, signing_key_name(new_id()), body)
    private = tokens.new_private_key() | {"surplus": "x"}
    await put(gateway, signing_key_name(private["kid"]), json.dumps(private).encode())

    async def served() -> Any:
        return (await gateway.http.get("/.well-known/jwks.json")).json()["keys"]

    assert await until(served) == [
        {"kty": "OKP", "crv": "Ed25519"} | {key: private[key] for key in ("x", "kid", "use", "alg")}
    ]


async def test_they_outlast_the_brokers_restart(gateway: Gateway) -> None:
    ada, private = a_user(), tokens.new_private_key()
    await put_key(gateway, private)
    await put_user(gateway, ada)
    token = tokens.issue(ada, private, datetime.now(UTC), 900)
    await gateway.becomes(token, 200)
    await asyncio.to_thread(gateway.server.kill)
    assert (await gateway.http.get("/v2", headers=bearer(token))).status_code == 200
    await asyncio.to_thread(gateway.server.start)
    await gateway.becomes(token, 200)
