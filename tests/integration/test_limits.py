"""Limits and narrowed keys at two gateways on one bus, with keys as auth puts them there."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from deploy.embedded.ports import free_port
from deploy.provision import provision_bus_over
from services.gateway.handlers import HANDLERS
from services.gateway.limits import shares
from services.gateway.limits.shares import HERE_SUBJECT
from shared.credentials import key_digest
from shared.keys import new_secret
from shared.permissions import Role
from shared.rpc.auth import LoggedIn
from shared.rpc.auth_keys import KeyDays
from shared.rpc.registry import ModelList
from shared.streams import REVOKED_SUBJECT
from tests.integration.gateway_neighbours import ASKED_OF, Asked, Gateway, bearer, running_gateway
from tests.integration.running import guarded_bus, until

SLOW = 1 / 3600
LOGIN = "/api/v1/login"
NOBODY = {"name": "ada", "password": "wrong"}


@dataclass
class Two:
    """Two gateways with the same settings; their neighbours stand beside the first."""

    gateways: list[Gateway]
    grpc_ports: list[int]

    async def make_key(self, key_id: str, role: Role = Role.ADMIN, **bounds: Any) -> str:
        """A key that both know, which is told by one that came after it, so that none of its requests is used."""
        first, key, after = self.gateways[0], new_secret(), new_secret()
        await first.put_key(key, role, key_id=key_id, **bounds)
        await first.put_key(after, key_id=f"after-{key_id}")
        for gateway in self.gateways:
            await gateway.becomes(after, 200)
        return key

    async def get(self, turn: int, key: str, path: str = "/v2", **headers: str) -> httpx.Response:
        return await self.gateways[turn % 2].http.get(path, headers=bearer(key) | headers)

    async def statuses(self, key: str, number: int, path: str = "/v2", **headers: str) -> list[int]:
        """What requests get that go to one and the other in turn."""
        return [(await self.get(turn, key, path, **headers)).status_code for turn in range(number)]


def _note(asked: Asked) -> KeyDays:
    """Auth, which counts nothing; a key named `used` has used up much before."""
    used = {use["key_id"]: 98 for use in asked.body["uses"] if use["key_id"] == "used"}
    return KeyDays(day=datetime.now(UTC).date(), requests=used)


@asynccontextmanager
async def two_gateways(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> AsyncIterator[Two]:
    given = {"rate": str(SLOW), "burst": "1000", "anonymous_rate": str(SLOW), "anonymous_burst": "1000"}
    for name, value in (given | {"key_use_seconds": "0.2"} | settings).items():
        monkeypatch.setenv(f"GATEWAY_{name.upper()}", value)
    monkeypatch.setattr(shares, "BEAT_SECONDS", 0.2)  # so that they meet sooner
    async with AsyncExitStack() as stack:
        server = stack.enter_context(guarded_bus(folder / "nats", HANDLERS))
        monkeypatch.setenv("GATEWAY_NATS_URL", server.servers)
        monkeypatch.setenv("GATEWAY_NATS_PASSWORD", "password")
        await provision_bus_over(server.url, [HANDLERS.declaration])
        gateways, grpc_ports = [], []
        for neighbours in (ASKED_OF, ()):
            port = free_port()
            monkeypatch.setenv("GATEWAY_GRPC_PORT", str(grpc_port := free_port()))
            monkeypatch.setenv("GATEWAY_PORT", str(port))
            running = running_gateway(server, f"http://127.0.0.1:{port}", neighbours)
            gateways.append(await stack.enter_async_context(running))
            grpc_ports.append(grpc_port)
        gateways[0].neighbours.answers |= {"note_key_uses": _note, "list_models": ModelList()}
        await _have_met(gateways[0])
        yield Two(gateways, grpc_ports)


async def _have_met(gateway: Gateway) -> None:
    """Each of the two said that it is there since both listen."""
    here = await gateway.connection.subscribe(HERE_SUBJECT)
    said: Counter[bytes] = Counter()
    while len(said) < 2 or min(said.values()) < 2:
        said[(await here.next_msg(60)).data] += 1


@pytest.fixture
async def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    async with two_gateways(tmp_path, monkeypatch) as found:
        yield found


async def test_one_more_than_the_limit_is_refused_over_two_gateways(two: Two) -> None:
    for number in range(4):
        key = await two.make_key(f"key-{number}", rate=SLOW, burst=7)
        assert await two.statuses(key, 8) == [200] * 7 + [429], "whoever keeps the account"
    refused = await two.get(0, key, "/v2")
    assert refused.headers["ratelimit-policy"] == '"requests";q=7;w=25200'
    left, _, wait = refused.headers["ratelimit"].removeprefix('"requests";').partition(";")
    assert left == "r=0" and 0 < int(wait.removeprefix("t=")) <= 3600
    assert int(refused.headers["retry-after"]) <= 3600 and "at once" in refused.json()["error"]
    control = await two.get(1, key, "/api/v1/models")
    assert control.status_code == 429 and control.json()["type"] == "urn:aimass:problem:too_many_requests"
    assert control.headers["ratelimit"].startswith('"requests";r=0') and control.headers["retry-after"]


async def test_many_at_once_get_no_more(two: Two) -> None:
    for burst in (1, 20, 150):
        key = await two.make_key(f"burst-{burst}", rate=SLOW, burst=burst)
        answers = await asyncio.gather(*(two.get(turn, key) for turn in range(burst + 60)))
        counted = Counter(answer.status_code for answer in answers)
        assert counted == {200: burst, 429: 60}
        assert all(answer.headers["ratelimit"] for answer in answers)


async def test_grpc_counts_with_http(two: Two) -> None:
    key = await two.make_key("grpc", rate=SLOW, burst=4)
    elsewhere = await two.make_key("grpc-elsewhere", addresses=["192.0.2.0/24"])
    assert await two.statuses(key, 2) == [200, 200]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{two.grpc_ports[1]}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        async def ask(secret: str) -> tuple[Any, dict[str, Any]]:
            call = stub.ServerMetadata(
                service_pb2.ServerMetadataRequest(),
                metadata=(("authorization", f"Bearer {secret}"), ("x-forwarded-for", "192.0.2.1")),
            )
            return await call.code(), dict(await call.trailing_metadata())

        found = [await ask(key) for _ in range(3)]
        assert [code.name for code, _ in found] == ["OK", "OK", "RESOURCE_EXHAUSTED"]
        assert found[0][1]["ratelimit"].startswith('"requests";r=1') and "retry-after" in found[2][1]
        assert (await ask(elsewhere))[0].name == "PERMISSION_DENIED"


async def test_what_is_left_comes_with_every_answer(two: Two) -> None:
    key = await two.make_key("one", rate=SLOW, burst=5, daily_requests=9)
    left = [(await two.get(0, key, path)).headers["ratelimit"] for path in ("/v2", "/api/v1/models", "/v2/nowhere")]
    assert [states.split(";")[1] for states in left] == ["r=4", "r=3", "r=2"]
    assert [states.split(";")[3] for states in left] == ["r=8", "r=7", "r=6"]
    free = await two.make_key("free")
    assert (await two.get(0, free)).headers["ratelimit-policy"].startswith('"requests";q=1000')


async def test_a_daily_quota_outlasts_gateways(two: Two) -> None:
    key = await two.make_key("day", rate=1000, burst=1000, daily_requests=3)
    assert await two.statuses(key, 4) == [200] * 3 + [429]
    assert "midnight" in (await two.get(0, key)).json()["error"]
    used = await two.make_key("used", rate=1000, burst=1000, daily_requests=100)

    async def is_used_up() -> bool:
        return (await two.get(0, used)).status_code == 429

    await until(is_used_up)
    reports = [asked.body["uses"] for asked in two.gateways[0].neighbours.asked if "note_key_uses" in asked.subject]
    told = sum(use["requests"] for uses in reports for use in uses if use["key_id"] == "used")
    assert told < 90, "what auth knew of before was not let in again"


async def test_auth_is_told_when_keys_are_used(two: Two) -> None:
    key = await two.make_key("told")
    assert await two.statuses(key, 10) == [200] * 10

    async def told() -> bool:
        asked = [each for each in two.gateways[0].neighbours.asked if each.subject == "rpc.auth.note_key_uses"]
        uses = [use for each in asked for use in each.body["uses"] if use["key_id"] == "told"]
        return sum(use["requests"] for use in uses) == 10 and all(use["last_used_at"] for use in uses)

    await until(told)


async def test_strangers_are_counted_by_address_whatever_they_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_gateways(tmp_path, monkeypatch, anonymous_burst="6") as two:
        await _strangers_are_counted(two)


async def _strangers_are_counted(two: Two) -> None:
    two.gateways[0].neighbours.answers["login"] = LoggedIn(access_token="t", expires_in=1)  # noqa: S106
    found = []
    for turn in range(8):
        claimed = {"X-Forwarded-For": f"192.0.2.{turn}", "Forwarded": f"for=192.0.2.{turn}"}
        reply = await two.gateways[turn % 2].http.post(LOGIN, json=NOBODY, headers=claimed)
        found.append(reply.status_code)
    assert found == [200] * 6 + [429] * 2
    wrong = await two.get(1, new_secret())
    assert wrong.status_code == 429, "attempts with keys that nobody has count too"
    known = new_secret()
    await two.gateways[0].put_key(known)
    await two.gateways[0].becomes(known, 200)


async def test_a_key_is_for_its_addresses(two: Two) -> None:
    here = await two.make_key("here", addresses=["127.0.0.0/8"])
    elsewhere = await two.make_key("elsewhere", addresses=["192.0.2.0/24", "2001:db8::/32"])
    for path in ("/v2", "/api/v1/models"):
        assert await two.statuses(here, 2, path) == [200, 200]
        refused = await two.get(0, elsewhere, path, **{"X-Forwarded-For": "192.0.2.1"})
        assert refused.status_code == 403 and "may not be used from 127.0.0.1" in refused.text


async def test_a_proxy_that_is_trusted_says_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_gateways(tmp_path, monkeypatch, trusted_proxies='["127.0.0.1"]') as two:
        key = await two.make_key("behind", addresses=["192.0.2.0/24"])
        for path in ("/v2", "/api/v1/models"):
            assert (await two.get(0, key, path, **{"X-Forwarded-For": "192.0.2.1"})).status_code == 200
            assert (await two.get(0, key, path, **{"X-Forwarded-For": "192.0.2.1, 198.51.100.1"})).status_code == 403
            assert (await two.get(0, key, path)).status_code == 403


async def test_a_key_is_for_its_models_and_scopes(two: Two) -> None:
    key = await two.make_key(
        "narrow", Role.ENGINEER, models=["digits-*"], scopes=["infer", "models:read", "tasks:write"]
    )
    await two.gateways[0].neighbours.serve("digits-cnn")
    http, headers = two.gateways[0].http, bearer(key)
    body = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
    assert (await http.post("/v2/models/digits-cnn/infer", json=body, headers=headers)).status_code == 200
    refusals = [
        await http.post("/v2/models/secret/infer", json=body, headers=headers),
        await http.post("/api/v1/predict/secret", json={"items": [1]}, headers=headers),
        await http.get("/api/v1/models/secret", headers=headers),
        await http.post("/v1/embeddings", json={"model": "secret", "input": "x"}, headers=headers),
        await http.post("/api/v1/tasks", json={"kind": "train", "model": "secret"}, headers=headers),
    ]
    assert [reply.status_code for reply in refusals] == [403] * 5, [reply.text for reply in refusals]
    assert all("it is for digits-*" in reply.text for reply in refusals)
    scoped = await http.get("/api/v1/tasks", headers=headers)
    assert scoped.status_code == 403 and "not for 'tasks:read': its scopes are infer" in scoped.text


async def test_a_mistyped_key_is_told(two: Two) -> None:
    key = await two.make_key("whole")
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    reply = await two.get(0, wrong)
    assert reply.status_code == 401 and "not copied whole" in reply.json()["error"]


async def test_a_revoked_key_counts_at_no_gateway(two: Two) -> None:
    key = await two.make_key("gone")
    assert await two.statuses(key, 2) == [200, 200]
    await two.gateways[0].connection.publish(REVOKED_SUBJECT, f"{key_digest(key)} {'0' * 64}".encode())
    for gateway in two.gateways:
        await gateway.becomes(key, 401)


async def test_without_the_bus_each_goes_on_with_its_share(two: Two) -> None:
    key = await two.make_key("apart", rate=SLOW, burst=20)
    await asyncio.to_thread(two.gateways[0].server.kill)

    async def is_apart() -> bool:
        answers = [await two.get(0, key), await two.get(1, key)]
        return Counter(answer.status_code for answer in answers) == {429: 2}

    await until(is_apart)
    await asyncio.to_thread(two.gateways[0].server.start)
    fresh = await two.make_key("again", rate=SLOW, burst=4)
    assert (await two.statuses(fresh, 5))[:4] == [200] * 4


async def test_a_project_has_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_gateways(tmp_path, monkeypatch, project_rate=str(SLOW), project_burst="5") as two:
        one = await two.make_key("one", project="tenant", rate=SLOW, burst=3)
        other = await two.make_key("other", project="tenant", rate=SLOW, burst=3)
        assert await two.statuses(one, 4) == [200] * 3 + [429]
        assert await two.statuses(other, 3) == [200] * 2 + [429]
        assert "this project may make" in (await two.get(0, other)).json()["error"]
