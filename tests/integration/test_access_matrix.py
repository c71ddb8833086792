"""The golden matrix: role x route x own or another project, over every route, with a real thing of each kind."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
from wsproto.events import RejectConnection

from deploy.access_page import access_page, lines
from deploy.embedded.testing_servers import PostgresServer
from deploy.reference import ACCESS
from shared.permissions import GRANTS, Permission, Role
from tests.conftest import fresh_database
from tests.integration.access_entries import ENTRIES, Entry
from tests.integration.gateway_neighbours import bearer
from tests.integration.sockets import socket
from tests.integration.two_projects import Furnishing, make_keys, make_token
from tests.integration.whole_gateway import MODEL, Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROJECTS = ("default", "red")
LINES = [(route, permission, others) for route, permission, others in lines() if permission is not None]
FIXED = {"service": "nowhere", "page": "status", "member": MODEL}
# What ends a thing comes last, so that all others find it.
COMMON = ("experiment_id", "version", "project")
# These roles of the second project are those of service accounts, with a token in place of a key.
BY_ACCOUNT = (Role.OPERATOR, Role.VIEWER)
LAST = re.compile(r"^DELETE|/(cancel|delete|discard)$")


class House(NamedTuple):
    """Both projects: their keys by role, and their things."""

    whole: Whole
    keys: dict[str, dict[Role, str]]
    things: dict[str, Mapping[str, str]]

    async def ask(self, route: str, entry: Entry, things: Mapping[str, str], key: str) -> httpx.Response:
        method, path = route.split(" ")
        values = FIXED | dict(things) | {name: (FIXED | dict(things))[of] for name, of in entry.at.items()}
        given: dict[str, Any] = {"params": filled(entry.query, values)}
        if entry.json is not None:
            given["json"] = filled(entry.json, values)
        if entry.content is not None:
            given["content"] = entry.content
        url = re.sub(r"\{(\w+)(:path)?\}", lambda match: values[match[1]], path)
        if method == "WebSocket":
            return await self.open(url, key)
        return await self.whole.http.request(method, url, headers=bearer(key), **given)

    async def open(self, path: str, key: str) -> httpx.Response:
        """The answer to one who asks for a WebSocket, 200 when it is opened."""
        async with socket(str(self.whole.http.base_url), path, key) as opened:
            event = await opened.event()
        return httpx.Response(event.status_code if isinstance(event, RejectConnection) else 200)


def filled(given: Any, values: Mapping[str, str]) -> Any:
    """With the values in place of their names."""
    if isinstance(given, str):
        return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], given)
    if isinstance(given, dict):
        return {name: filled(value, values) for name, value in given.items()}
    return [filled(value, values) for value in given] if isinstance(given, list) else given


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as whole:
            assert (await whole.send("POST", "/api/v1/projects", json={"name": "red"})).status_code == 201
            keys = {project: await make_keys(whole, project) for project in PROJECTS}
            keys["red"] |= {role: await make_token(whole, keys["red"][Role.ADMIN], role) for role in BY_ACCOUNT}
            things = {each: await Furnishing(whole, each, keys[each][Role.ADMIN]).fill() for each in PROJECTS}
            yield House(whole, keys, things)


def routes() -> list[tuple[str, Permission, str]]:
    return sorted(LINES, key=lambda line: LAST.search(line[0].split("}")[-1] or line[0]) is not None)


def judged(route: str, role: Role, reply: httpx.Response, expected: tuple[int, ...]) -> list[str]:
    """What is wrong with an answer; nothing expected stands for all that says that it went well."""
    fits = reply.status_code in expected if expected else reply.status_code < 400
    return [] if fits else [f"{role.value} {route}: {reply.status_code}, not {expected or 'well'}: {reply.text[:160]}"]


async def test_each_route_has_an_entry() -> None:
    assert {line[0] for line in LINES} == set(ENTRIES)


async def test_the_table_is_fresh() -> None:
    fresh = "\n".join(access_page()).rstrip("\n") + "\n"
    assert ACCESS.read_text() == fresh, "run ./justw docs and commit docs/access.md"


@pytest.mark.parametrize(("mine", "theirs"), [PROJECTS, PROJECTS[::-1]])
async def test_things_of_another_project_are_not_there(house: House, mine: str, theirs: str) -> None:
    """In no role: neither shown nor changed, and no list names them."""
    wrong: list[str] = []
    for route, permission, others in routes():
        for role in Role:
            reply = await house.ask(route, ENTRIES[route], house.things[theirs], house.keys[mine][role])
            expected = ENTRIES[route].other
            if permission not in GRANTS[role] or (others == "platform" and mine != "default"):
                expected = (403,)
            elif others == "404" and not expected:
                expected = (404,)
            elif others == "platform" and not expected:
                expected = ENTRIES[route].own
            wrong += judged(route, role, reply, expected)
            if others == "own" and theirs_in(reply, house.things[theirs]) and not mentioned(ENTRIES[route], route):
                wrong.append(f"{role.value} {route}: names what is of {theirs}: {reply.text[:300]}")
    assert not wrong, "\n".join(wrong)


def theirs_in(reply: httpx.Response, things: Mapping[str, str]) -> bool:
    unique = {value for name, value in things.items() if len(value) > 8 and name not in COMMON}
    return any(value in reply.text for value in unique)


def mentioned(entry: Entry, route: str) -> bool:
    """Whether the question names them itself, so that the answer may say it again."""
    return "{" in json.dumps([entry.json, entry.query]) or "{" in route


@pytest.mark.parametrize("mine", PROJECTS)
async def test_things_of_the_own_project_are_there_by_role(house: House, mine: str) -> None:
    """After all that people of the other one have tried."""
    wrong: list[str] = []
    for route, permission, others in routes():
        for role in reversed(Role):
            reply = await house.ask(route, ENTRIES[route], house.things[mine], house.keys[mine][role])
            expected = ENTRIES[route].own
            if permission not in GRANTS[role] or (others == "platform" and mine != "default"):
                expected = (403,)
            elif expected and reply.status_code < 400:
                expected = ()
            wrong += judged(route, role, reply, expected)
    assert not wrong, "\n".join(wrong)


async def test_the_project_is_that_of_the_credential_whatever_is_sent(house: House) -> None:
    theirs = house.things["default"]
    for path in (f"/api/v1/tasks/{theirs['task_id']}", f"/v2/models/{theirs['model']}", "/api/v1/models", "/v1/models"):
        forged = {"aimass-project": "default", "aimass-actor": "admin", "x-project": "default"}
        headers = bearer(house.keys["red"][Role.ADMIN]) | forged
        reply = await house.whole.http.get(path, headers=headers, params={"project": "default"})
        assert reply.status_code in (200, 404), reply.text
        assert theirs["name"] not in reply.text or reply.status_code == 404
    for path, body in (("api-keys", {"name": "n", "roles": ["admin"]}), ("users", {"name": "u", "roles": ["admin"]})):
        given = body | {"project": "default"}
        headers = bearer(house.keys["red"][Role.ADMIN])
        reply = await house.whole.http.post(f"/api/v1/{path}", headers=headers, json=given)
        assert (reply.status_code, reply.json()["field"]) == (422, "project")
    headers = bearer(house.keys["red"][Role.ADMIN]) | {"aimass-project": "default"}
    made = await house.whole.http.post("/api/v1/api-keys", headers=headers, json={"name": "n", "roles": ["admin"]})
    assert made.json()["project"] == "red"
