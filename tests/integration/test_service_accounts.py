"""Service accounts over two kinds of stock OAuth 2.0 clients' requests, the gateway and auth on real servers."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.httpx_client import OAuthError as OAuth2Error

from deploy.embedded.testing_servers import PostgresServer
from tests.conftest import fresh_database
from tests.integration.gateway_neighbours import bearer
from tests.integration.running import until
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"
GRANT = "client_credentials"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as started:
            yield started


async def make(whole: Whole, name: str, role: str = "viewer") -> dict[str, Any]:
    made = await whole.send("POST", f"{API}/service-accounts", json={"name": name, "roles": [role]})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store"), made.text
    return dict(made.json())


async def trade(whole: Whole, form: dict[str, str], **headers: str) -> httpx.Response:
    return await whole.http.post(f"{API}/token", data=form, headers={"Authorization": ""} | headers)


async def token_of(whole: Whole, account: dict[str, Any], secret: str | None = None) -> httpx.Response:
    given = {"client_id": account["id"], "client_secret": secret or account["client_secret"]}
    return await trade(whole, {"grant_type": GRANT} | given)


async def becomes(whole: Whole, token: str, wanted: int, path: str = "/models") -> None:
    async def is_so() -> bool:
        return (await whole.http.get(API + path, headers=bearer(token))).status_code == wanted

    await until(is_so)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_stock_client_gets_in(whole: Whole, method: str) -> None:
    account = await make(whole, method.replace("_", "-"), "operator")
    url = str(whole.http.base_url).rstrip("/")
    async with AsyncOAuth2Client(
        account["id"], account["client_secret"], token_endpoint_auth_method=method, base_url=url
    ) as client:
        token = await client.fetch_token(f"{url}{API}/token", grant_type=GRANT)
        assert (token["token_type"], token["expires_in"]) == ("Bearer", 900)
        assert not {"refresh_token", "session_id"} & token.keys()
        await becomes(whole, token["access_token"], 200)
        me = (await client.get(f"{API}/me")).json()
        assert (me["id"], me["kind"]) == (account["id"], "service")
        assert (await client.get(f"{API}/users")).status_code == 403
        for request in (client.get(f"{API}/me/sessions"), client.post(f"{API}/me/totp")):
            assert (await request).status_code == 403
    async with AsyncOAuth2Client(account["id"], "wrong", token_endpoint_auth_method=method) as client:
        with pytest.raises(OAuth2Error, match="invalid_client"):
            await client.fetch_token(f"{url}{API}/token", grant_type=GRANT)


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


async def test_errors_are_those_of_the_standard(whole: Whole) -> None:
    account = await make(whole, "errors")
    good = {"grant_type": GRANT, "client_id": account["id"], "client_secret": account["client_secret"]}
    nobody = "01890000-0000-7000-8000-000000000000"
    cases = {
        "no grant": (good | {"grant_type": None}, "invalid_request", 400),
        "another grant": (good | {"grant_type": "password"}, "unsupported_grant_type", 400),
        "no client": ({"grant_type": GRANT}, "invalid_client", 401),
        "unknown client": (good | {"client_id": nobody}, "invalid_client", 401),
        "wrong secret": (good | {"client_secret": "ais_" + "0" * 64}, "invalid_client", 401),
        "endless secret": (good | {"client_secret": "x" * 5000}, "invalid_client", 401),
        "null": (good | {"client_id": "\0"}, "invalid_client", 401),
    }
    for what, (form, error, status) in cases.items():
        answer = await trade(whole, {name: value for name, value in form.items() if value is not None})
        assert (answer.status_code, answer.json()["error"]) == (status, error), what
        assert answer.headers["cache-control"] == "no-store"
        assert ("www-authenticate" in answer.headers) == (status == 401)
    twice = await trade(whole, good, Authorization=basic(account["id"], account["client_secret"]))
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    broken = await trade(whole, {"grant_type": GRANT}, Authorization="Basic $$")
    assert (broken.status_code, broken.json()["error"]) == (401, "invalid_client")
    as_json = await whole.http.post(f"{API}/token", json=good)
    assert (as_json.status_code, as_json.json()["error"]) == (400, "invalid_request")
    for body in ("grant_type=a&grant_type=b", "%ff=%ff", "a" * 100_000, "&" * 100):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        reply = await whole.http.post(f"{API}/token", content=body, headers=headers)
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request"), body[:30]


async def test_secrets_rotate_with_an_overlap(whole: Whole) -> None:
    account = await make(whole, "rotating")
    path = f"{API}/service-accounts/{account['id']}/secret"
    rotated = (await whole.send("POST", path, json={"overlap_seconds": 60})).json()
    assert len(rotated["secrets"]) == 2
    for secret in (account["client_secret"], rotated["client_secret"]):
        assert (await token_of(whole, account, secret)).status_code == 200
    third = (await whole.send("POST", path, json={"overlap_seconds": 0})).json()
    statuses = [(await token_of(whole, each)).status_code for each in (account, rotated, third)]
    assert statuses == [401, 401, 200]


async def test_one_that_is_deleted_is_out_at_once(whole: Whole) -> None:
    account = await make(whole, "leaving")
    token = (await token_of(whole, account)).json()["access_token"]
    await becomes(whole, token, 200)
    again = await whole.send("POST", f"{API}/service-accounts", json={"name": "leaving", "roles": ["viewer"]})
    assert (again.status_code, again.json()["field"]) == (409, "name")
    assert (await whole.send("DELETE", f"{API}/service-accounts/{account['id']}")).status_code == 204
    await becomes(whole, token, 401)
    assert (await token_of(whole, account)).status_code == 401
    listed = (await whole.send("GET", f"{API}/service-accounts")).json()["accounts"]
    assert "leaving" not in [each["name"] for each in listed]
    assert not any("client_secret" in each for each in listed)


async def test_no_table_holds_a_secret(whole: Whole) -> None:
    account = await make(whole, "hidden")
    token = (await token_of(whole, account)).json()["access_token"]
    database = whole.services["auth"].database
    assert database is not None
    async with database.connection() as connection:
        for table in ("service_accounts", "outbox", "idempotency"):
            for row in await connection.fetch(f"SELECT t::text AS row FROM {table} t"):
                assert account["client_secret"] not in row["row"] and token not in row["row"]
