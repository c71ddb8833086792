"""People who log in: users, sessions and keys that sign, over the gateway and auth on real servers."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aimass
import httpx
import jwt
import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from services.auth.passwords import Passwords
from services.auth.users import FREE_FAILURES
from shared.tokens import AUDIENCE, ISSUER
from tests.conftest import fresh_database
from tests.integration.gateway_neighbours import bearer
from tests.integration.running import until
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"
NEW = "correct horse battery staple"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(postgres: PostgresServer, passwords: dict[str, str], folder: Path) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, folder) as started:
            yield started


async def make(whole: Whole, name: str, *roles: str) -> dict[str, Any]:
    made = await whole.send("POST", f"{API}/users", json={"name": name, "roles": roles or ("viewer",)})
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    return dict(made.json())


async def log_in(whole: Whole, name: str, password: str) -> httpx.Response:
    return await whole.send("POST", f"{API}/login", json={"name": name, "password": password})


async def session(whole: Whole, user: dict[str, Any]) -> str:
    answer = await log_in(whole, user["name"], user["password"])
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


async def status(whole: Whole, token: str, path: str = "/models") -> int:
    return (await whole.send("GET", API + path, headers=bearer(token))).status_code


async def becomes(whole: Whole, token: str, wanted: int, path: str = "/models") -> None:
    async def is_so() -> bool:
        return await status(whole, token, path) == wanted

    await until(is_so)


async def test_a_session_has_the_roles_of_its_user_as_they_are_now(whole: Whole) -> None:
    user = await make(whole, "ada")
    answer = await log_in(whole, "ada", user["password"])
    assert answer.headers["cache-control"] == "no-store"
    facts = answer.json()
    assert (facts["token_type"], facts["expires_in"]) == ("Bearer", 900)
    token = facts["access_token"]
    await becomes(whole, token, 200)
    assert await status(whole, token, "/users") == 403
    assert (await whole.send("GET", "/v2", headers=bearer(token))).status_code == 200
    patched = await whole.send("PATCH", f"{API}/users/{user['id']}", json={"roles": ["admin", "viewer", "admin"]})
    assert patched.json()["roles"] == ["admin", "viewer"]
    await becomes(whole, token, 200, "/users")
    listed = (await whole.send("GET", f"{API}/users", headers=bearer(token))).json()["users"]
    assert [found["name"] for found in listed] == ["ada"] and "password" not in json.dumps(listed)


async def test_a_disabled_user_is_out_at_once_and_may_come_back(whole: Whole) -> None:
    user = await make(whole, "bob")
    token = await session(whole, user)
    await becomes(whole, token, 200)
    path = f"{API}/users/{user['id']}"
    first = (await whole.send("PATCH", path, json={"disabled": True})).json()["disabled_at"]
    await becomes(whole, token, 401)
    assert (await log_in(whole, "bob", user["password"])).status_code == 401
    assert (await whole.send("PATCH", path, json={"disabled": True})).json()["disabled_at"] == first
    assert (await whole.send("PATCH", path, json={"disabled": False})).json()["disabled_at"] is None
    again = await session(whole, user)
    await becomes(whole, again, 200)
    assert await status(whole, token) == 401, "the session of before does not come back"


async def test_another_password_ends_all_sessions(whole: Whole) -> None:
    user = await make(whole, "cleo")
    token, other = await session(whole, user), await session(whole, user)
    await becomes(whole, token, 200)
    body = {"current_password": user["password"], "new_password": NEW}
    wrong = await whole.send("PUT", f"{API}/me/password", json=body | {"current_password": "x"}, headers=bearer(token))
    assert (wrong.status_code, wrong.json()["field"]) == (422, "current_password")
    for poor in ("short", "passwordpassword", "cleocleocleo", "aaaaaaaaaaaaaaaa"):
        refused = await whole.send(
            "PUT", f"{API}/me/password", json=body | {"new_password": poor}, headers=bearer(token)
        )
        assert (refused.status_code, refused.json()["field"]) == (422, "new_password"), poor
        assert poor not in refused.text
    assert (await whole.send("PUT", f"{API}/me/password", json=body)).status_code == 403, "an API key has no password"
    changed = await whole.send("PUT", f"{API}/me/password", json=body, headers=bearer(token))
    assert changed.status_code == 204
    for ended in (token, other):
        await becomes(whole, ended, 401)
    assert (await log_in(whole, "cleo", user["password"])).status_code == 401
    await becomes(whole, await session(whole, user | {"password": NEW}), 200)
    reset = (await whole.send("POST", f"{API}/users/{user['id']}/password")).json()
    assert (await log_in(whole, "cleo", NEW)).status_code == 401
    assert (await log_in(whole, "cleo", reset["password"])).status_code == 200


async def test_who_is_wrong_learns_nothing_and_waits(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody has costs one comparison too, and has to wait as well."""
    await make(whole, "dora")
    compared: list[str] = []
    compare = Passwords._compare

    def spied(self: Passwords, password_hash: str, password: str) -> bool:
        compared.append(password_hash.rpartition("$")[0].rpartition("$")[0])
        return compare(self, password_hash, password)

    monkeypatch.setattr(Passwords, "_compare", spied)
    seen = []
    for name in ("dora", "nobody-here"):
        replies = [await log_in(whole, name, "wrong") for _ in range(FREE_FAILURES)]
        seen.append([(reply.status_code, reply.json() | {"trace_id": ""}) for reply in replies])
        assert replies[0].headers["www-authenticate"] == "Bearer"
        blocked = await log_in(whole, name, "wrong")
        assert blocked.status_code == 429 and int(blocked.headers["retry-after"]) >= 1
    assert seen[0] == seen[1] and {status for status, _ in seen[0]} == {401}
    assert len(compared) == 2 * FREE_FAILURES and len(set(compared)) == 1, "the same cost for both"


async def test_attempts_at_once_are_all_counted(whole: Whole) -> None:
    replies = await asyncio.gather(*(log_in(whole, "at-once", "wrong") for _ in range(3 * FREE_FAILURES)))
    statuses = [reply.status_code for reply in replies]
    assert statuses.count(401) == FREE_FAILURES and statuses.count(429) == 2 * FREE_FAILURES


async def test_a_success_forgets_failures(whole: Whole) -> None:
    user = await make(whole, "emil")
    for _ in range(2):
        for _ in range(FREE_FAILURES - 1):
            assert (await log_in(whole, "emil", "wrong")).status_code == 401
        await session(whole, user)


async def test_names_are_had_once(whole: Whole) -> None:
    await make(whole, "fay")
    again = await whole.send("POST", f"{API}/users", json={"name": "fay", "roles": ["viewer"]})
    assert (again.status_code, again.json()["field"]) == (409, "name")


async def test_a_stock_client_verifies_a_token_with_the_served_keys(whole: Whole, folder: Path) -> None:
    """Also after a rotation: the older key goes on to count, and the newer one signs once it is known."""
    user = await make(whole, "gus")
    old = await session(whole, user)
    made = await whole.send("POST", f"{API}/signing-keys")
    assert made.status_code == 201, made.text
    kid = made.json()["kid"]

    async def signs() -> str:
        token = await session(whole, user)
        return token if jwt.get_unverified_header(token)["kid"] == kid else ""

    new = await until(signs)
    for token in (old, new):
        await becomes(whole, token, 200)
        served = await whole.http.get("/.well-known/jwks.json", headers={"Authorization": ""})
        keys = jwt.PyJWKSet.from_dict(served.json())
        key = keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=ISSUER)
        assert (claims["sub"], claims["project"]) == (user["id"], "default")
        assert claims["exp"] - claims["iat"] == 900
        assert not {"roles", "name"} & claims.keys()
    assert all(key.keys() == {"kty", "crv", "x", "kid", "use", "alg"} for key in served.json()["keys"])
    file = folder / "auth" / "signing.keys"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and kid in json.loads(file.read_text())


async def test_the_python_client_logs_in(whole: Whole) -> None:
    url, header = str(whole.http.base_url), whole.http.headers["authorization"]

    def administrator() -> aimass.Client:
        return aimass.Client(url, header.removeprefix("Bearer "))

    def as_user(name: str, password: str) -> None:
        with aimass.Client.login(url, name, password) as client:
            assert client.models() == []
            with pytest.raises(aimass.Forbidden, match="users:manage"):
                client.users()
            with pytest.raises(aimass.Invalid, match="guess"):
                client.change_password(password, "passwordpassword")
            client.change_password(password, NEW)

    def work() -> None:
        with administrator() as admin:
            made = admin.create_user("ida", ["viewer"])
            as_user("ida", made["password"])
            with pytest.raises(aimass.Unauthenticated, match="wrong"):
                aimass.Client.login(url, "ida", made["password"])
            assert admin.update_user(made["id"], disabled=True)["disabled_at"]
            with pytest.raises(aimass.Unauthenticated, match="wrong"):
                aimass.Client.login(url, "ida", NEW)
            as_enabled = admin.update_user(made["id"], roles=["operator"], disabled=False)
            assert (as_enabled["roles"], as_enabled["disabled_at"]) == (["operator"], None)
            aimass.Client.login(url, "ida", admin.reset_password(made["id"])["password"]).close()
            with pytest.raises(aimass.TooManyAttempts) as refused:
                for _ in range(2 * FREE_FAILURES):  # each makes the next wait twice as long
                    with suppress(aimass.Unauthenticated):
                        aimass.Client.login(url, "ida", "wrong")
            assert refused.value.retry_after
            assert "ida" in [user["name"] for user in admin.users()]

    await asyncio.to_thread(work)


async def test_secrets_stand_nowhere(whole: Whole, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a password nor a private key, in tables, outbox, events or logs."""
    user = await make(whole, "jan")
    assert (await log_in(whole, "jan", user["password"])).status_code == 200
    private = json.loads((folder / "auth" / "signing.keys").read_text()).values()
    secret = [user["password"], *(key["d"] for key in private)]
    database = whole.services["auth"].database
    assert database is not None
    async with database.connection() as connection:
        for table in ("users", "login_attempts", "signing_keys", "outbox", "idempotency"):
            rows = await connection.fetch(f"SELECT t::text AS row FROM {table} t")
            assert not any(hidden in row["row"] for row in rows for hidden in secret), table
    said = "".join(capfd.readouterr())
    assert not any(hidden in said for hidden in secret)


async def test_tokens_count_while_auth_is_away(whole: Whole) -> None:
    token = await session(whole, await make(whole, "hal"))
    await becomes(whole, token, 200)
    auth = whole.services["auth"]
    auth.stop()

    async def is_away() -> bool:
        return (await whole.http.get(f"{API}/users")).status_code == 503

    await until(is_away)
    assert (await whole.send("GET", "/v2", headers=bearer(token))).status_code == 200
    assert await status(whole, token) == 200
    assert (await log_in(whole, "hal", "x")).status_code == 503
