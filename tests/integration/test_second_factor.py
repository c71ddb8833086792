"""Second factors over the gateway and auth on real servers: set up, asked for, never twice, and by whom removed."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from services.auth.users import FREE_FAILURES
from tests.conftest import fresh_database
from tests.integration.gateway_neighbours import bearer
from tests.integration.running import until
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(postgres: PostgresServer, passwords: dict[str, str], folder: Path) -> AsyncIterator[Whole]:
    """Operators need a second factor here."""
    with fresh_database(postgres, passwords) as urls, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTH_SECOND_FACTOR_ROLES", '["operator"]')
        async with whole_gateway(urls, folder) as started:
            yield started


class Person:
    """A user with an app that shows codes, none that is about to pass."""

    def __init__(self, whole: Whole, made: dict[str, Any]) -> None:
        self.whole, self.id, self.name, self.password = whole, made["id"], made["name"], made["password"]
        self.secret, self.recovery, self.token = "", [""], ""

    async def log_in(self, code: str = "") -> httpx.Response:
        body = {"name": self.name, "password": self.password, "code": code}
        return await self.whole.send("POST", f"{API}/login", json=body)

    async def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        return await self.whole.send(method, API + path, headers=bearer(self.token), **given)

    async def start(self) -> None:
        self.token = (await self.log_in()).json()["access_token"]

        async def is_known() -> bool:
            return (await self.ask("GET", "/me/totp")).status_code == 200

        await until(is_known)

    async def set_up(self) -> None:
        await self.start()
        begun = await self.ask("POST", "/me/totp")
        assert (begun.status_code, begun.headers["cache-control"]) == (201, "no-store")
        self.secret = begun.json()["secret"]
        assert pyotp.parse_uri(begun.json()["uri"]).secret == self.secret
        confirmed = await self.ask("PUT", "/me/totp", json={"code": self.code(-1)})
        assert confirmed.status_code == 200, confirmed.text
        self.recovery = confirmed.json()["recovery_codes"]

    def code(self, steps: int = 0) -> str:
        if (left := 30 - time.time() % 30) < 2:
            time.sleep(left)
        return pyotp.TOTP(self.secret).at(int(time.time()) + 30 * steps)


async def person(whole: Whole, name: str, role: str = "viewer") -> Person:
    made = await whole.send("POST", f"{API}/users", json={"name": name, "roles": [role]})
    assert made.status_code == 201, made.text
    return Person(whole, made.json())


async def test_a_code_is_asked_for_and_counts_once(whole: Whole) -> None:
    ada = await person(whole, "ada")
    await ada.set_up()
    assert len(set(ada.recovery)) == 10
    needed = await ada.log_in()
    assert needed.status_code == 401 and needed.json()["type"].endswith("second_factor_needed")
    code = ada.code()
    assert (await ada.log_in(code)).status_code == 200
    again = await ada.log_in(code)
    assert again.status_code == 401 and "used before" in again.json()["detail"]
    wrong_password = await whole.send(
        "POST", f"{API}/login", json={"name": "ada", "password": "wrong", "code": ada.code(1)}
    )
    assert wrong_password.status_code == 401 and "password" in wrong_password.json()["detail"]
    assert (await ada.log_in(ada.code(1))).status_code == 200, "a wrong password used no code up"


async def test_a_recovery_code_counts_once(whole: Whole) -> None:
    bob = await person(whole, "bob")
    await bob.set_up()
    assert (await bob.log_in(bob.recovery[0].upper())).status_code == 200
    assert (await bob.log_in(bob.recovery[0])).status_code == 401
    assert (await bob.ask("GET", "/me/totp")).json() == {"enabled": True, "recovery_codes_left": 9}


async def test_wrong_codes_are_counted_and_an_admin_unlocks(whole: Whole) -> None:
    cleo = await person(whole, "cleo")
    await cleo.set_up()
    code = cleo.code()
    statuses = [(await cleo.log_in("000000")).status_code for _ in range(FREE_FAILURES)]
    assert statuses == [401] * FREE_FAILURES
    assert (await cleo.log_in(code)).status_code == 429
    assert (await whole.send("DELETE", f"{API}/users/{cleo.id}/lock")).status_code == 204
    assert (await cleo.log_in(code)).status_code == 200


async def test_it_is_removed_with_a_code_or_by_an_admin(whole: Whole) -> None:
    dora = await person(whole, "dora")
    await dora.set_up()
    assert (await dora.ask("POST", "/me/totp")).status_code == 409
    assert (await dora.ask("DELETE", "/me/totp", json={"code": "000000"})).status_code == 401
    assert (await dora.ask("DELETE", "/me/totp", json={"code": dora.code()})).status_code == 204
    assert (await dora.log_in()).status_code == 200
    await dora.set_up()
    assert (await dora.log_in()).status_code == 401
    assert (await whole.send("DELETE", f"{API}/users/{dora.id}/totp")).status_code == 204
    assert (await dora.log_in()).status_code == 200
    assert (await whole.send("DELETE", f"{API}/users/{dora.id}/totp")).status_code == 404


async def test_one_that_was_not_confirmed_asks_for_nothing(whole: Whole) -> None:
    emil = await person(whole, "emil")
    await emil.start()
    assert (await emil.ask("PUT", "/me/totp", json={"code": "123456"})).status_code == 409
    assert (await emil.ask("POST", "/me/totp")).status_code == 201
    wrong = await emil.ask("PUT", "/me/totp", json={"code": "123456"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "code")
    assert (await emil.log_in()).status_code == 200


async def test_a_role_that_needs_one_is_had_with_one_alone(whole: Whole) -> None:
    fay = await person(whole, "fay", "operator")
    session = (await fay.log_in()).json()
    assert session["second_factor_missing"]
    await fay.start()
    assert (await fay.ask("GET", "/models")).status_code == 403
    assert (await whole.http.get("/v2/models/digits-cnn", headers=bearer(fay.token))).status_code == 403
    await fay.set_up()
    assert (await fay.ask("GET", "/models")).status_code == 403, "this token is for setting up"
    refreshed = await whole.http.post(f"{API}/login/refresh", json={"refresh_token": session["refresh_token"]})
    fay.token = refreshed.json()["access_token"]
    assert (await fay.ask("GET", "/models")).status_code == 200
    assert not (await fay.log_in(fay.code())).json()["second_factor_missing"]


async def test_neither_secret_nor_codes_stand_in_the_database(whole: Whole, folder: Path) -> None:
    gus = await person(whole, "gus")
    await gus.set_up()
    raw = [gus.secret, gus.secret.encode().hex(), *gus.recovery, *(code.replace("-", "") for code in gus.recovery)]
    database = whole.services["auth"].database
    assert database is not None
    async with database.connection() as connection:
        for table in ("second_factors", "outbox", "idempotency"):
            rows = await connection.fetch(f"SELECT t::text AS row FROM {table} t")
            assert rows or table == "idempotency"
            assert not any(hidden in row["row"] for row in rows for hidden in raw), table
    assert (folder / "auth" / "seal.keys").stat().st_mode & 0o077 == 0
