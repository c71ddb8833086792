"""One Idempotency-Key makes one thing, on every route that makes one: a repeat never makes a second."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from tests.conftest import fresh_database
from tests.integration import onnx_models
from tests.integration.whole_gateway import MODEL, Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
Given = dict[str, Any]
HEADER = "Idempotency-Key"
API = "/api/v1"
TASKS, KEYS, USERS = f"{API}/tasks", f"{API}/api-keys", f"{API}/users"
SHARES = f"{API}/models/{{model}}/shares"
VERSIONS, IMPORTS = f"{API}/models/{{model}}/versions", f"{API}/models/{{model}}/imports"
TASK = {"kind": "train", "model": MODEL, "config": {"epochs": 1}}
API_KEY = {"name": "ci", "roles": ["viewer"]}
FILES = {"one": onnx_models.affine().onnx, "other": onnx_models.lookup().onnx}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as started:
            yield started


async def archives(whole: Whole) -> list[bytes]:
    """Two versions as files, with which others can be made."""
    for file in FILES.values():
        assert (await whole.send("POST", VERSIONS.format(model="source"), content=file)).status_code == 201
    path = VERSIONS.format(model="source")
    return [(await whole.send("GET", f"{path}/{version}/export")).content for version in (1, 2)]


async def check_one_thing(whole: Whole, path: str, given: Given, *others: Given) -> None:
    headers = {HEADER: f"once {path}".replace(" ", "-")}
    first = await whole.send("POST", path, headers=headers, **given)
    again = await whole.send("POST", path, headers=headers, **given)
    assert first.status_code in (201, 202), first.text
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["location"] == first.headers["location"]
    for other in others:
        refused = await whole.send("POST", path, headers=headers, **other)
        assert (refused.status_code, refused.json()["field"]) == (409, HEADER), refused.text
        assert headers[HEADER] in refused.json()["detail"]


async def test_every_route_that_makes_something_takes_a_key(whole: Whole) -> None:
    making = {
        path: [parameter["name"] for parameter in methods["post"].get("parameters", [])]
        for path, methods in whole.openapi["paths"].items()
        if methods.get("post", {}).get("responses", {}).keys() & {"201", "202"}
    }
    assert making.keys() >= {TASKS, KEYS, VERSIONS, IMPORTS}
    without = {path for path, names in making.items() if HEADER not in names}
    assert without == {SHARES, "/api/v1/invitations/accept", "/api/v1/me/totp"}  # a repeat changes nothing more there


async def test_tasks(whole: Whole) -> None:
    await check_one_thing(whole, TASKS, {"json": TASK}, {"json": TASK | {"auto_promote": False}})


async def test_versions(whole: Whole) -> None:
    """By the file's digest, and with all that is said of it."""
    given, path = {"content": FILES["one"]}, VERSIONS.format(model="brought")
    others = {"content": FILES["other"]}, given | {"params": {"auto_promote": True}}
    await check_one_thing(whole, path, given, *others)
    assert [version["version"] for version in (await whole.send("GET", path)).json()["versions"]] == [1]


async def test_imports(whole: Whole) -> None:
    one, other = await archives(whole)
    await check_one_thing(whole, IMPORTS.format(model="imported"), {"content": one}, {"content": other})


async def test_api_keys(whole: Whole) -> None:
    """A repeat makes no second API key, and is refused, since the secret was shown once."""
    headers = {HEADER: "one-api-key"}
    made = (await whole.send("POST", KEYS, headers=headers, json=API_KEY)).json()
    for body in (API_KEY, API_KEY | {"name": "other"}):
        refused = await whole.send("POST", KEYS, headers=headers, json=body)
        assert (refused.status_code, refused.json()["field"]) == (409, HEADER)
        assert made["secret"] not in refused.text
        assert (made["id"] in refused.text) == (body is API_KEY)
    listed = (await whole.send("GET", KEYS)).json()["keys"]
    assert [key["id"] for key in listed if key["name"] in ("ci", "other")] == [made["id"]]
    operation = whole.openapi["paths"][KEYS]["post"]
    assert "409" in operation["description"]


async def test_users(whole: Whole) -> None:
    """As with API keys: the password was shown once."""
    headers, body = {HEADER: "one-user"}, {"name": "ada", "roles": ["viewer"]}
    made = (await whole.send("POST", USERS, headers=headers, json=body)).json()
    for given in (body, body | {"name": "other"}):
        refused = await whole.send("POST", USERS, headers=headers, json=given)
        assert (refused.status_code, refused.json()["field"]) == (409, HEADER)
        assert made["password"] not in refused.text
    assert [user["id"] for user in (await whole.send("GET", USERS)).json()["users"]] == [made["id"]]


async def test_signing_keys(whole: Whole) -> None:
    headers = {HEADER: "one-rotation"}
    one, again = [(await whole.send("POST", f"{API}/signing-keys", headers=headers)).json() for _ in range(2)]
    assert one == again and one["kid"]


async def test_a_request_that_failed_does_not_use_its_key_up(whole: Whole) -> None:
    headers, path = {HEADER: "second-try"}, VERSIONS.format(model="tried")
    assert (await whole.send("POST", path, headers=headers, content=b"no model")).status_code == 422
    assert (await whole.send("POST", path, headers=headers, content=FILES["one"])).status_code == 201
