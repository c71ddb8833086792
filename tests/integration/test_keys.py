"""Narrowed, used and rotated keys over the gateway and auth, on real servers."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from shared.keys import FORM, is_mistyped
from tests.conftest import fresh_database
from tests.integration.gateway_neighbours import bearer
from tests.integration.running import until
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"
KEYS = f"{API}/api-keys"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    folder: Path = tmp_path_factory.mktemp("whole")
    with fresh_database(postgres, passwords) as urls, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWAY_KEY_USE_SECONDS", "0.2")
        async with whole_gateway(urls, folder) as started:
            yield started


async def make(whole: Whole, **fields: Any) -> dict[str, Any]:
    made = await whole.send("POST", KEYS, json={"name": "n", "roles": ["viewer"]} | fields)
    assert made.status_code == 201, made.text
    return dict(made.json())


async def rotate(whole: Whole, key: dict[str, Any], **body: Any) -> dict[str, Any]:
    rotated = await whole.send("POST", f"{KEYS}/{key['id']}/rotate", json=body)
    assert rotated.status_code == 200 and rotated.headers["cache-control"] == "no-store", rotated.text
    return dict(rotated.json())


async def becomes(whole: Whole, secret: str, status: int) -> None:
    async def is_so() -> bool:
        return (await whole.send("GET", f"{API}/models", headers=bearer(secret))).status_code == status

    await until(is_so)


async def listed(whole: Whole, key_id: str) -> dict[str, Any]:
    found = (await whole.send("GET", KEYS)).json()["keys"]
    return next(key for key in found if key["id"] == key_id)


async def test_a_key_is_shown_as_it_was_narrowed(whole: Whole) -> None:
    bounds = {"scopes": ["models:read"], "models": ["digits-*"], "rate": 100, "burst": 7, "daily_requests": 1000}
    made = await make(whole, **bounds, addresses=["127.0.0.1", "2001:db8::/32"])
    assert FORM.fullmatch(made["secret"]) and not is_mistyped(made["secret"])
    await becomes(whole, made["secret"], 200)
    shown = await listed(whole, made["id"])
    assert {name: shown[name] for name in bounds} == bounds
    assert shown["addresses"] == ["127.0.0.1/32", "2001:db8::/32"] and "secret" not in shown
    answer = await whole.send("GET", f"{API}/models", headers=bearer(made["secret"]))
    assert answer.headers["ratelimit-policy"] == '"requests";q=7;w=1, "day";q=1000;w=86400'


async def test_when_a_key_was_used_is_shown(whole: Whole) -> None:
    made, before = await make(whole), datetime.now(UTC)
    assert (await listed(whole, made["id"]))["last_used_at"] is None
    await becomes(whole, made["secret"], 200)

    async def is_noted() -> bool:
        used = (await listed(whole, made["id"]))["last_used_at"]
        return used is not None and datetime.fromisoformat(used) >= before

    await until(is_noted)


async def test_the_secret_before_counts_for_a_while(whole: Whole) -> None:
    made = await make(whole)
    await becomes(whole, made["secret"], 200)
    rotated = await rotate(whole, made)
    assert rotated["id"] == made["id"] and rotated["secret"] != made["secret"]
    assert rotated["prefix"] == rotated["secret"][:10]
    for secret in (rotated["secret"], made["secret"]):
        await becomes(whole, secret, 200)
    short = await rotate(whole, made, overlap_seconds=1)
    await becomes(whole, rotated["secret"], 401)
    await becomes(whole, short["secret"], 200)
    last = await rotate(whole, made, overlap_seconds=0)
    await becomes(whole, short["secret"], 401)
    await becomes(whole, made["secret"], 200)
    assert (await whole.send("DELETE", f"{KEYS}/{made['id']}")).status_code == 200
    for secret in (made["secret"], last["secret"]):
        await becomes(whole, secret, 401)
    again = await whole.send("POST", f"{KEYS}/{made['id']}/rotate")
    assert again.status_code == 409 and "make another one" in again.json()["detail"]


async def test_a_narrowed_key_makes_no_wider_one(whole: Whole) -> None:
    boss = await make(whole, roles=["admin"], scopes=["keys:manage", "infer"], models=["a-*"])
    other = await make(whole, roles=["admin"])
    await becomes(whole, boss["secret"], 403)
    headers = bearer(boss["secret"])
    wider = [{}, {"scopes": ["infer"]}, {"scopes": ["models:read"], "models": ["a-b"]}, {"models": ["a-b"]}]
    for bounds in (*wider, {"scopes": ["infer"], "models": ["*"]}):
        body = {"name": "n", "roles": ["admin"]} | bounds
        assert (await whole.send("POST", KEYS, json=body, headers=headers)).status_code == 403, bounds
    body = {"name": "n", "roles": ["admin"], "scopes": ["infer"], "models": ["a-b*"]}
    assert (await whole.send("POST", KEYS, json=body, headers=headers)).status_code == 201
    assert (await whole.send("POST", f"{KEYS}/{other['id']}/rotate", headers=headers)).status_code == 403
    assert (await whole.send("POST", f"{KEYS}/{boss['id']}/rotate", headers=headers)).status_code == 200


async def test_no_secret_stands_in_a_database_or_a_log(whole: Whole, capfd: pytest.CaptureFixture[str]) -> None:
    made = await make(whole, rate=5)
    rotated = await rotate(whole, made)
    await becomes(whole, rotated["secret"], 200)
    secrets = [made["secret"], rotated["secret"]]
    async with whole.services["auth"].database.connection() as connection:
        for table in ("api_keys", "rotated_secrets", "key_days", "outbox", "idempotency"):
            rows = [row["row"] for row in await connection.fetch(f"SELECT t::text AS row FROM {table} t")]
            assert not [row for row in rows if any(secret in row for secret in secrets)], table
    assert not any(secret in "".join(capfd.readouterr()) for secret in secrets)


async def test_what_is_granted_counts_for_the_secret_before_too_and_within_scopes(whole: Whole) -> None:
    made = await make(whole, scopes=["models:read", "audit:read"])
    await rotate(whole, made)
    body = {"role": "admin", "subject_kind": "key", "subject_id": made["id"]}
    grant = await whole.send("POST", f"{API}/grants", json=body)
    assert grant.status_code == 201, grant.text

    async def becomes_status(path: str, status: int) -> None:
        async def is_so() -> bool:
            return (await whole.send("GET", API + path, headers=bearer(made["secret"]))).status_code == status

        await until(is_so)

    await becomes_status("/audit", 200)
    mine = (await whole.send("GET", f"{API}/me/permissions", headers=bearer(made["secret"]))).json()["permissions"]
    assert {found["permission"] for found in mine} == {"models:read", "audit:read"}
    asked = {"permission": "users:manage", "subject": made["id"]}
    answer = (await whole.send("POST", f"{API}/permissions/check", json=asked)).json()
    assert answer["allowed"] is False and "its scopes are" in answer["why"]
    assert (await whole.send("DELETE", f"{API}/grants/{grant.json()['id']}")).status_code < 300
    await becomes_status("/audit", 403)


async def test_models_of_a_key_count_where_a_route_names_one(whole: Whole) -> None:
    made = await make(whole, models=["other.*"])
    await becomes(whole, made["secret"], 200)
    for path, status in (("/models/mine", 403), ("/models/mine/versions", 403), ("/models/other.theirs", 404)):
        answer = await whole.send("GET", API + path, headers=bearer(made["secret"]))
        assert answer.status_code == status, answer.text
        assert status != 403 or "other.*" in answer.text
