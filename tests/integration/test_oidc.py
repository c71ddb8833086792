"""Logins through an OpenID provider, which is a process of its own and insists on PKCE; gateway and auth are real."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
import pytest_asyncio

from deploy.embedded.ports import free_port
from deploy.embedded.testing_servers import PostgresServer
from tests.conftest import fresh_database
from tests.integration.gateway_neighbours import bearer
from tests.integration.running import until
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"
GROUPS = {"builders": ["engineer"], "guests": ["viewer"]}
COOKIE = "aimass_login"


@contextmanager
def process(*arguments: str) -> Iterator[str]:
    """The provider's URL."""
    port = free_port()
    command = [sys.executable, "-m", "tests.integration.oidc_server", str(port), *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


class Provider:
    """The provider as its administrator and its people see it."""

    def __init__(self, url: str) -> None:
        self.url, self.http = url, httpx.AsyncClient(base_url=url, timeout=30)

    async def ready(self) -> bool:
        try:
            return (await self.http.get("/.well-known/openid-configuration")).status_code == 200
        except httpx.TransportError:
            return False

    async def client(self, redirect_uri: str) -> dict[str, str]:
        made = await self.http.post("/oauth2/clients", json={"redirect_uris": [redirect_uri]})
        return dict(made.json())

    async def person(self, sub: str, **claims: Any) -> None:
        answer = await self.http.put(f"/users/{sub}", json={"preferred_username": sub} | claims)
        assert answer.status_code == 204, answer.text

    async def agrees(self, location: str, sub: str, **changed: str | None) -> dict[str, str]:
        """What the provider sends back with the browser, where the query was changed on the way there."""
        parts = urlsplit(location)
        query = {k: v for k, v in (dict(parse_qsl(parts.query)) | changed).items() if v is not None}
        answer = await self.http.post(f"{parts.path}?{urlencode(query)}", data={"sub": sub})
        return dict(parse_qsl(urlsplit(answer.headers.get("location", "")).query))


class Place:
    """The platform with a provider."""

    def __init__(self, whole: Whole, provider: Provider) -> None:
        self.whole, self.provider = whole, provider
        self.base = str(whole.http.base_url).rstrip("/")

    async def register(self, name: str, **changed: Any) -> httpx.Response:
        client = await self.provider.client(f"{self.base}{API}/login/oidc/{name}/callback")
        body = {"name": name, "issuer": self.provider.url, "public_url": self.base, "group_roles": GROUPS}
        body |= {"client_id": client["client_id"], "client_secret": client["client_secret"]} | changed
        return await self.whole.send("POST", f"{API}/identity-providers", json=body)

    async def begin(self, name: str, **query: str) -> tuple[str, str]:
        """Where the browser goes, and its cookie."""
        answer = await self.ask(f"/login/oidc/{name}", query)
        assert answer.status_code == 303, answer.text
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie
        return answer.headers["location"], cookie.partition(";")[0].partition("=")[2]

    async def end(self, name: str, back: dict[str, str], cookie: str) -> httpx.Response:
        return await self.ask(f"/login/oidc/{name}/callback", back, cookie)

    async def ask(self, path: str, query: dict[str, str], cookie: str = "") -> httpx.Response:
        headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
        async with httpx.AsyncClient(base_url=self.base, timeout=30) as browser:
            return await browser.get(API + path, params=query, headers=headers)

    async def log_in(self, name: str, sub: str) -> httpx.Response:
        location, cookie = await self.begin(name)
        return await self.end(name, await self.provider.agrees(location, sub), cookie)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    with fresh_database(postgres, passwords) as urls, pytest.MonkeyPatch.context() as patch, process("3600") as url:
        patch.setenv("AUTH_PROVIDER_INSIDE", "true")
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as whole:
            place = Place(whole, provider := Provider(url))
            await until(provider.ready)
            made = await place.register("corp")
            assert made.status_code == 201, made.text
            yield place
            await provider.http.aclose()


async def becomes(place: Place, token: str, wanted: int, path: str = "/models") -> None:
    async def is_so() -> bool:
        return (await place.whole.http.get(API + path, headers=bearer(token))).status_code == wanted

    await until(is_so)


async def test_a_person_comes_in_and_their_groups_give_the_roles(place: Place) -> None:
    await place.provider.person("ada", groups=["builders", "unknown"])
    answer = await place.log_in("corp", "ada")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    tokens = answer.json()
    assert tokens["refresh_token"] and tokens["session_id"]
    await becomes(place, tokens["access_token"], 200)
    users = (await place.whole.send("GET", f"{API}/users")).json()["users"]
    [ada] = [user for user in users if user["name"] == "ada"]
    assert (ada["roles"], ada["created_by"]) == (["engineer"], "oidc/corp")
    await place.provider.person("ada", groups="guests")
    assert (await place.log_in("corp", "ada")).status_code == 200
    users = (await place.whole.send("GET", f"{API}/users")).json()["users"]
    assert [user["roles"] for user in users if user["id"] == ada["id"]] == [["viewer"]]
    with_password = await place.whole.send("POST", f"{API}/login", json={"name": "ada", "password": "x"})
    assert with_password.status_code == 401


async def test_what_the_provider_is_asked_for(place: Place) -> None:
    location, _ = await place.begin("corp")
    query = parse_qs(urlsplit(location).query)
    assert query["code_challenge_method"] == ["S256"] and len(query["code_challenge"][0]) == 43
    assert query["response_type"] == ["code"] and len(query["nonce"][0]) == 43 and len(query["state"][0]) == 43
    assert query["redirect_uri"] == [f"{place.base}{API}/login/oidc/corp/callback"]


async def test_a_callback_counts_once_and_only_for_the_browser_that_began(place: Place) -> None:
    await place.provider.person("bea", groups=["guests"])
    location, cookie = await place.begin("corp")
    back = await place.provider.agrees(location, "bea")
    _, other = await place.begin("corp")
    for stranger in ("", other):
        assert (await place.end("corp", back, stranger)).status_code == 401
    assert (await place.end("corp", back | {"state": "x" * 43}, cookie)).status_code == 401
    assert (await place.end("corp", back, cookie)).status_code == 200
    assert (await place.end("corp", back, cookie)).status_code == 401


async def test_two_at_once_are_let_in_once(place: Place) -> None:
    await place.provider.person("cem", groups=["guests"])
    location, cookie = await place.begin("corp")
    back = await place.provider.agrees(location, "cem")
    answers = await asyncio.gather(*(place.end("corp", back, cookie) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]


async def test_a_code_of_another_login_does_not_count(place: Place) -> None:
    """The provider refuses it by PKCE: the code belongs to the other login's challenge."""
    await place.provider.person("dan", groups=["guests"])
    theirs, _ = await place.begin("corp")
    stolen = await place.provider.agrees(theirs, "dan")
    mine, cookie = await place.begin("corp")
    state = parse_qs(urlsplit(mine).query)["state"][0]
    assert (await place.end("corp", {"state": state, "code": stolen["code"]}, cookie)).status_code == 401
    location, cookie = await place.begin("corp")
    back = await place.provider.agrees(location, "dan")
    assert (await place.end("corp", back, cookie)).status_code == 200
    again, cookie = await place.begin("corp")
    state = parse_qs(urlsplit(again).query)["state"][0]
    assert (await place.end("corp", {"state": state, "code": back["code"]}, cookie)).status_code == 401


async def test_an_id_token_with_another_nonce_does_not_count(place: Place) -> None:
    await place.provider.person("eli", groups=["guests"])
    location, cookie = await place.begin("corp")
    back = await place.provider.agrees(location, "eli", nonce="of-somebody-else")
    answer = await place.end("corp", back, cookie)
    assert answer.status_code == 401 and "another login" in answer.text


async def test_without_pkce_the_provider_gives_no_code(place: Place) -> None:
    location, _ = await place.begin("corp")
    back = await place.provider.agrees(location, "ada", code_challenge=None, code_challenge_method=None)
    assert "code" not in back
    location, _ = await place.begin("corp")
    assert "code" not in await place.provider.agrees(location, "ada", code_challenge_method="plain")


async def test_a_code_for_another_client_does_not_count(place: Place) -> None:
    other = await place.provider.client(f"{place.base}{API}/login/oidc/corp/callback")
    location, cookie = await place.begin("corp")
    back = await place.provider.agrees(location, "ada", client_id=other["client_id"])
    assert (await place.end("corp", back, cookie)).status_code == 401


async def test_an_id_token_that_ended_does_not_count(place: Place) -> None:
    with process("-120") as url:
        late = Place(place.whole, Provider(url))
        await until(late.provider.ready)
        assert (await late.register("late")).status_code == 201
        await late.provider.person("fay", groups=["guests"])
        answer = await late.log_in("late", "fay")
        assert answer.status_code == 401 and "ExpiredSignature" in answer.text
        await late.provider.http.aclose()


async def test_who_is_refused(place: Place) -> None:
    await place.provider.person("gus", groups=["unknown"])
    assert (await place.log_in("corp", "gus")).status_code == 403
    await place.provider.person("hal", preferred_username="", groups=["guests"])
    assert (await place.log_in("corp", "hal")).status_code == 403
    await place.whole.send("POST", f"{API}/users", json={"name": "ivy", "roles": ["admin"]})
    await place.provider.person("ivy", groups=["guests"])
    taken = await place.log_in("corp", "ivy")
    assert (taken.status_code, taken.json()["field"]) == (409, "name")
    location, cookie = await place.begin("corp")
    state = parse_qs(urlsplit(location).query)["state"][0]
    refused = await place.end("corp", {"state": state, "error": "access_denied"}, cookie)
    assert refused.status_code == 401


async def test_a_disabled_user_stays_out(place: Place) -> None:
    await place.provider.person("jon", groups=["guests"])
    token = (await place.log_in("corp", "jon")).json()["access_token"]
    await becomes(place, token, 200)
    users = (await place.whole.send("GET", f"{API}/users")).json()["users"]
    [jon] = [user["id"] for user in users if user["name"] == "jon"]
    await place.whole.send("PATCH", f"{API}/users/{jon}", json={"disabled": True})
    await becomes(place, token, 401)
    assert (await place.log_in("corp", "jon")).status_code == 401


async def test_a_program_on_the_own_machine_is_sent_the_browser(place: Place) -> None:
    await place.provider.person("kim", groups=["guests"])
    location, cookie = await place.begin("corp", forward_to="http://127.0.0.1:8400/done")
    back = await place.provider.agrees(location, "kim")
    on = await place.end("corp", back, "")
    assert on.status_code == 303 and on.headers["location"].startswith("http://127.0.0.1:8400/done?")
    forwarded = dict(parse_qsl(urlsplit(on.headers["location"]).query))
    assert forwarded == {"state": back["state"], "code": back["code"]}
    assert (await place.end("corp", forwarded, cookie)).status_code == 200
    for outside in ("http://example.com/", "https://127.0.0.1:1/", "http://127.0.0.1:99999/", "http://127.0.0.1.a:1/"):
        answer = await place.ask("/login/oidc/corp", {"forward_to": outside})
        assert (answer.status_code, answer.json()["field"]) == (422, "forward_to"), answer.text


async def test_a_provider_is_changed_disabled_and_deleted(place: Place) -> None:
    made = (await place.register("spare")).json()
    assert made["has_secret"] and "client_secret" not in made
    assert (await place.register("spare")).status_code == 409
    path = f"{API}/identity-providers/spare"
    changed = await place.whole.send("PATCH", path, json={"disabled": True, "default_roles": ["viewer"]})
    assert changed.json()["default_roles"] == ["viewer"] and changed.json()["disabled_at"]
    assert (await place.ask("/login/oidc/spare", {})).status_code == 404
    assert (await place.whole.send("DELETE", path)).status_code == 204
    assert (await place.whole.send("DELETE", path)).status_code == 404
    await place.provider.person("ada", groups=["builders"])
    assert (await place.log_in("corp", "ada")).status_code == 200
    assert (await place.whole.send("DELETE", f"{API}/identity-providers/corp")).status_code == 409


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"issuer": "http://example.com"}, "issuer"),
        ({"public_url": "http://example.com"}, "public_url"),
        ({"issuer": "https://user@example.com"}, "issuer"),
        ({"group_roles": {}}, "group_roles"),
        ({"scopes": ["profile"]}, "scopes"),
    ],
)
async def test_what_no_provider_can_be(place: Place, changed: dict[str, Any], field: str) -> None:
    answer = await place.register("wrong", **changed)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


async def test_no_table_holds_the_secret_nor_what_would_end_a_login(place: Place) -> None:
    secret = "a client secret that nobody sees"
    assert (await place.register("sealed", client_secret=secret)).status_code == 201
    location, cookie = await place.begin("sealed")
    query = parse_qs(urlsplit(location).query)
    hidden = (secret, secret.encode().hex(), cookie, query["state"][0], query["nonce"][0])
    database = place.whole.services["auth"].database
    assert database is not None
    async with database.connection() as connection:
        tables = ("identity_providers", "provider_logins", "provider_users", "outbox", "idempotency")
        for table in tables:
            for row in await connection.fetch(f"SELECT t::text AS row FROM {table} t"):
                assert not any(each in row["row"] for each in hidden)


async def test_the_command_line_logs_in_with_a_browser(place: Place, tmp_path: Path) -> None:
    await place.provider.person("lea", groups=["guests"])
    home = os.environ | {"XDG_CONFIG_HOME": str(tmp_path), "BROWSER": "true", "PYTHONPATH": "sdk"}
    command = [sys.executable, "-m", "aimass", "login", place.base, "--provider", "corp", "--json"]
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    started = await asyncio.create_subprocess_exec(*command, env=home, **pipes)
    assert started.stdout and started.stderr
    try:
        said = [await started.stderr.readline(), await started.stderr.readline()]
        location = said[1].decode().strip()
        assert location.startswith(place.provider.url), said + [await started.stderr.read()]
        back = await place.provider.agrees(location, "lea")
        on = await place.end("corp", back, "")
        assert on.status_code == 303
        async with httpx.AsyncClient(timeout=30) as browser:
            assert (await browser.get(on.headers["location"])).status_code == 200
        out, err = await started.communicate()
        assert started.returncode == 0, err
        assert json.loads(out)["kind"] == "user"
        kept = (tmp_path / "aimass" / "profiles.json").read_text()
        assert "air_" in kept
        assert not any(back["code"].encode() in said for said in (out, err))
    finally:
        if started.returncode is None:
            started.kill()
