"""Sessions over two gateways and auth on real servers: refresh, reuse, ends, and what the audit tells of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio

from deploy.embedded.ports import free_port
from deploy.embedded.testing_servers import PostgresServer
from services.auth import entries, store
from services.gateway.app import build
from shared.context import Context
from shared.rpc.sessions import REFRESH_PATTERN
from tests.conftest import fresh_database
from tests.integration.gateway_neighbours import bearer
from tests.integration.running import until
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"
NEW = "correct horse battery staple"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTH_REFRESH_GRACE_SECONDS", "1")
        patch.setenv("GATEWAY_TRUSTED_PROXIES", '["127.0.0.0/8"]')
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as started:
            yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(whole: Whole) -> AsyncIterator[httpx.AsyncClient]:
    """A second gateway on the same bus."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWAY_PORT", str(port))
        service = build()
    task = asyncio.create_task(service.run())

    async def ready() -> bool:
        return service.readiness.problems() == {}

    await until(ready)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        yield http
    service.stop()
    await task


async def begin(whole: Whole, name: str) -> dict[str, Any]:
    """A new user, and a session of it."""
    made = (await whole.send("POST", f"{API}/users", json={"name": name, "roles": ["viewer"]})).json()
    return {"password": made["password"], "user_id": made["id"]} | await log_in(whole, name, made["password"])


async def log_in(whole: Whole, name: str, password: str) -> dict[str, Any]:
    answer = await whole.send("POST", f"{API}/login", json={"name": name, "password": password})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def refresh(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post(f"{API}/login/refresh", json={"refresh_token": token}, headers={"Authorization": ""})


async def becomes(http: httpx.AsyncClient, token: str, wanted: int) -> None:
    async def is_so() -> bool:
        return (await http.get("/v2", headers=bearer(token))).status_code == wanted

    async with asyncio.timeout(5):
        await until(is_so)


async def ended_everywhere(whole: Whole, other: httpx.AsyncClient, token: str) -> None:
    for http in (whole.http, other):
        await becomes(http, token, 401)


async def test_a_refresh_gives_the_next_pair_and_both_gateways_take_it(whole: Whole, other: httpx.AsyncClient) -> None:
    session = await begin(whole, "ada")
    assert REFRESH_PATTERN.fullmatch(session["refresh_token"])
    answer = await refresh(other, session["refresh_token"])
    assert answer.headers["cache-control"] == "no-store"
    following = answer.json()
    assert following["session_id"] == session["session_id"]
    assert following["refresh_token"] != session["refresh_token"]
    claims = jwt.decode(following["access_token"], options={"verify_signature": False})
    assert claims["sid"] == session["session_id"]
    for http in (whole.http, other):
        await becomes(http, following["access_token"], 200)
    again = (await refresh(whole.http, following["refresh_token"])).json()
    assert again["refresh_token"] not in (session["refresh_token"], following["refresh_token"])


async def test_a_used_token_ends_the_session_on_both_gateways(whole: Whole, other: httpx.AsyncClient) -> None:
    session = await begin(whole, "bob")
    beside = await log_in(whole, "bob", session["password"])
    second = (await refresh(whole.http, session["refresh_token"])).json()
    third = (await refresh(whole.http, second["refresh_token"])).json()
    await becomes(other, third["access_token"], 200)
    reused = await refresh(other, session["refresh_token"])
    assert reused.status_code == 401 and "used before" in reused.json()["detail"]
    for token in (session["access_token"], third["access_token"]):
        await ended_everywhere(whole, other, token)
    assert (await refresh(whole.http, third["refresh_token"])).status_code == 401
    await becomes(other, beside["access_token"], 200)
    assert (await refresh(other, beside["refresh_token"])).status_code == 200, "another session goes on"

    async def told() -> set[str]:
        entries = (await whole.send("GET", f"{API}/audit", params={"limit": 200})).json()["entries"]
        found = {each["type"].rpartition(".")[2] for each in entries if session["session_id"] in json.dumps(each)}
        return found if "SessionEnded" in found else set()

    assert await until(told) >= {"SessionStarted", "SessionReused", "SessionEnded"}


async def test_the_same_refresh_at_once_has_one_answer(whole: Whole, other: httpx.AsyncClient) -> None:
    session = await begin(whole, "cleo")
    asked = [refresh(http, session["refresh_token"]) for http in (whole.http, other) for _ in range(4)]
    answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {200}
    following = {answer.json()["refresh_token"] for answer in answers}
    assert len(following) == 1, "one chain, however often it was asked for"
    assert (await refresh(other, following.pop())).status_code == 200


async def test_one_session_is_ended_and_others_go_on(whole: Whole, other: httpx.AsyncClient) -> None:
    session = await begin(whole, "dora")
    beside = await log_in(whole, "dora", session["password"])
    await becomes(whole.http, beside["access_token"], 200)
    listed = (await whole.http.get(f"{API}/me/sessions", headers=bearer(beside["access_token"]))).json()["sessions"]
    assert [each["id"] for each in listed] == [beside["session_id"], session["session_id"]]
    assert {each["address"] for each in listed} == {"127.0.0.1"}
    path = f"{API}/me/sessions/{session['session_id']}"
    assert (await whole.http.delete(path, headers=bearer(beside["access_token"]))).status_code == 204
    await ended_everywhere(whole, other, session["access_token"])
    assert (await refresh(other, session["refresh_token"])).status_code == 401
    await becomes(other, beside["access_token"], 200)
    stranger = await begin(whole, "eve")
    await becomes(whole.http, stranger["access_token"], 200)
    theirs = f"{API}/me/sessions/{beside['session_id']}"
    assert (await whole.http.delete(theirs, headers=bearer(stranger["access_token"]))).status_code == 404
    out = await other.post(f"{API}/logout", headers=bearer(beside["access_token"]))
    assert out.status_code == 204
    await ended_everywhere(whole, other, beside["access_token"])


async def test_a_key_has_no_session(whole: Whole) -> None:
    for method, path in (("GET", "/me/sessions"), ("POST", "/logout")):
        assert (await whole.send(method, f"{API}{path}")).status_code == 403


async def test_another_password_and_disabling_end_the_refresh_too(whole: Whole, other: httpx.AsyncClient) -> None:
    session = await begin(whole, "fay")
    await becomes(whole.http, session["access_token"], 200)
    body = {"current_password": session["password"], "new_password": NEW}
    changed = await whole.http.put(f"{API}/me/password", json=body, headers=bearer(session["access_token"]))
    assert changed.status_code == 204
    assert (await refresh(other, session["refresh_token"])).status_code == 401
    again = await log_in(whole, "fay", NEW)
    await whole.send("PATCH", f"{API}/users/{session['user_id']}", json={"disabled": True})
    assert (await refresh(other, again["refresh_token"])).status_code == 401
    await whole.send("PATCH", f"{API}/users/{session['user_id']}", json={"disabled": False})
    assert (await refresh(other, again["refresh_token"])).status_code == 401, "it does not come back"


@pytest.mark.parametrize("token", ["air_", "air_" + "0" * 96, "x", "air_" + "0" * 95 + "G"])
async def test_what_is_no_refresh_token(whole: Whole, token: str) -> None:
    assert (await refresh(whole.http, token)).status_code == 401


async def test_no_table_holds_a_refresh_token(whole: Whole) -> None:
    session = await begin(whole, "gus")
    secret = session["refresh_token"][36:]
    database = whole.services["auth"].database
    assert database is not None
    async with database.connection() as connection:
        tables = [row["tablename"] for row in await connection.fetch(TABLES)]
        assert {"sessions", "outbox", "users"} <= set(tables)
        for table in tables:
            rows = await connection.fetch(f"SELECT t::text AS row FROM {table} t")
            assert not any(secret in row["row"] for row in rows), table


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"


async def test_ended_sessions_outlast_a_lost_bucket(whole: Whole, other: httpx.AsyncClient) -> None:
    """The table is the truth, also of what ended: an entry that is put back names it."""
    session = await begin(whole, "hal")
    await becomes(other, session["access_token"], 200)
    await whole.http.post(f"{API}/logout", headers=bearer(session["access_token"]))
    await ended_everywhere(whole, other, session["access_token"])
    auth = whole.services["auth"]
    assert auth.relay
    entry, gone = f"$KV.credentials.user.{session['user_id']}", {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}
    await auth.bus.js.publish(entry, b"", headers=gone)
    beside = await log_in(whole, "hal", session["password"])
    await becomes(other, beside["access_token"], 401)
    user = Context(project="default", actor="test")
    async with auth.relay.work(user) as work:
        await entries.put_user(work, await store.lock_user(work.tx, "default", session["user_id"]))
    await becomes(other, beside["access_token"], 200)
    await ended_everywhere(whole, other, session["access_token"])


async def test_a_session_in_another_project_goes_on_there_as_long_as_a_grant_does(whole: Whole) -> None:
    ida = await begin(whole, "ida")
    made = await whole.send("POST", f"{API}/projects", json={"name": "blue"})
    assert made.status_code == 201, made.text
    form = {"name": "ida", "password": ida["password"], "project": "blue"}
    refused = await whole.send("POST", f"{API}/login", json=form)
    assert refused.status_code == 403
    body = {"role": "viewer", "subject_kind": "user", "subject_id": ida["user_id"], "platform": True}
    granted = await whole.send("POST", f"{API}/grants", json=body)
    assert granted.status_code == 201, granted.text
    there = await whole.send("POST", f"{API}/login", json=form)
    following = (await refresh(whole.http, there.json()["refresh_token"])).json()
    assert jwt.decode(following["access_token"], options={"verify_signature": False})["project"] == "blue"
    await becomes(whole.http, following["access_token"], 200)
    listed = (await whole.http.get(f"{API}/me/sessions", headers=bearer(following["access_token"]))).json()["sessions"]
    assert {each["id"] for each in listed} == {ida["session_id"], following["session_id"]}
    await whole.send("DELETE", f"{API}/grants/{granted.json()['id']}")
    assert (await refresh(whole.http, following["refresh_token"])).status_code == 401


async def test_a_trusted_proxy_says_where_a_person_comes_from(whole: Whole) -> None:
    """What the person claims stands before, and counts nothing."""
    made = (await whole.send("POST", f"{API}/users", json={"name": "prox", "roles": ["viewer"]})).json()
    body = {"name": "prox", "password": made["password"]}
    through = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7, 127.0.0.9", "Authorization": ""}
    session = (await whole.http.post(f"{API}/login", json=body, headers=through)).json()
    await becomes(whole.http, session["access_token"], 200)
    listed = (await whole.http.get(f"{API}/me/sessions", headers=bearer(session["access_token"]))).json()["sessions"]
    assert [each["address"] for each in listed] == ["198.51.100.7"]
