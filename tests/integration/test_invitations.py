"""Invitations, and the wait by address, over the gateway and auth on real servers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from tests.conftest import fresh_database
from tests.integration.running import until
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"
NEW = "correct horse battery staple"
FREE = 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTH_ADDRESS_FAILURES", str(FREE))
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as started:
            yield started


async def invite(whole: Whole, name: str, **more: Any) -> httpx.Response:
    body = {"name": name, "roles": ["viewer"]} | more
    return await whole.send("POST", f"{API}/invitations", json=body)


async def accept(whole: Whole, token: str, password: str = NEW) -> httpx.Response:
    body = {"token": token, "new_password": password}
    return await whole.http.post(f"{API}/invitations/accept", json=body, headers={"Authorization": ""})


async def log_in(whole: Whole, name: str, password: str, **headers: str) -> httpx.Response:
    body = {"name": name, "password": password}
    return await whole.http.post(f"{API}/login", json=body, headers={"Authorization": ""} | headers)


async def test_who_is_invited_chooses_a_password_and_logs_in(whole: Whole) -> None:
    made = await invite(whole, "ada")
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    token = made.json()["token"]
    weak = await accept(whole, token, "passwordpassword")
    assert (weak.status_code, weak.json()["field"]) == (422, "new_password")
    accepted = await accept(whole, token)
    assert (accepted.status_code, accepted.json()["roles"]) == (201, ["viewer"]), accepted.text
    assert (await log_in(whole, "ada", NEW)).status_code == 200
    again = await accept(whole, token)
    assert again.status_code == 409 and "accepted before" in again.json()["detail"]
    taken = await invite(whole, "ada")
    assert (taken.status_code, taken.json()["field"]) == (409, "name")


async def test_one_that_is_accepted_at_once_makes_one_user(whole: Whole) -> None:
    token = (await invite(whole, "bob")).json()["token"]
    statuses = [reply.status_code for reply in await asyncio.gather(*(accept(whole, token) for _ in range(4)))]
    assert sorted(statuses) == [201, 409, 409, 409]


async def test_it_is_listed_and_revoked(whole: Whole) -> None:
    made = (await invite(whole, "cleo")).json()
    listed = (await whole.send("GET", f"{API}/invitations")).json()["invitations"]
    assert [each["name"] for each in listed] == ["cleo"] and "token" not in listed[0]
    assert (await whole.send("DELETE", f"{API}/invitations/{made['id']}")).status_code == 204
    revoked = await accept(whole, made["token"])
    assert revoked.status_code == 409 and "revoked" in revoked.json()["detail"]
    assert (await whole.send("GET", f"{API}/invitations")).json()["invitations"] == []


async def test_it_ends(whole: Whole) -> None:
    now = datetime.now(UTC)
    far = await invite(whole, "dora", ends_at=(now + timedelta(days=8)).isoformat())
    assert (far.status_code, far.json()["field"]) == (422, "ends_at")
    token = (await invite(whole, "dora", ends_at=(now + timedelta(seconds=1)).isoformat())).json()["token"]
    await asyncio.sleep(1.1)
    late = await accept(whole, token)
    assert late.status_code == 409 and "expired" in late.json()["detail"]
    assert (await accept(whole, "aii_" + "0" * 64)).status_code == 404


async def test_nobody_passes_on_more_than_he_has(whole: Whole) -> None:
    """Neither by an invitation nor by a service account, nor by another secret of one."""
    role = {"name": "host", "permissions": ["users:manage", "keys:manage", "models:read"]}
    assert (await whole.send("POST", f"{API}/roles", json=role)).status_code == 201
    key = (await whole.send("POST", f"{API}/api-keys", json={"name": "host", "roles": ["viewer"]})).json()
    grant = {"role": "host", "subject_kind": "key", "subject_id": key["id"]}
    assert (await whole.send("POST", f"{API}/grants", json=grant)).status_code == 201
    account = await whole.send("POST", f"{API}/service-accounts", json={"name": "strong", "roles": ["admin"]})
    asked = {
        "invitations": {"name": "mallory", "roles": ["admin"]},
        "service-accounts": {"name": "mallory", "roles": ["admin"]},
        f"service-accounts/{account.json()['id']}/secret": {},
    }
    for path, body in asked.items():

        async def is_refused(path: str = path, body: Any = body) -> bool:
            given = {"json": body, "headers": {"Authorization": f"Bearer {key['secret']}"}}
            reply = await whole.http.post(f"{API}/{path}", **given)
            return reply.status_code == 403 and "users:manage" not in reply.text and "keys:manage" not in reply.text

        await until(is_refused)


async def test_an_address_waits_whatever_it_says_it_is(whole: Whole) -> None:
    """Under ever other names, and with a header that claims ever other addresses; runs last, as it blocks the rest."""
    statuses = []
    for number in range(FREE + 1):
        claimed = {"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"}
        statuses.append((await log_in(whole, f"nobody-{number}", "wrong", **claimed)).status_code)
    assert statuses[-1] == 429 and set(statuses[:-1]) == {401}
    blocked = await log_in(whole, "ada", NEW)
    assert blocked.status_code == 429 and "address" in blocked.json()["detail"]
