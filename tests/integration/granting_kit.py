"""What tests of grants ask and wait for, over HTTP and in a gateway's memory."""

from typing import Any

import httpx

from services.gateway.credentials import CredentialCache
from shared.names import new_id
from shared.permissions import Permission
from tests.integration.gateway_neighbours import bearer
from tests.integration.running import until
from tests.integration.whole_gateway import Whole

API = "/api/v1"


async def ask(whole: Whole, method: str, path: str, status: int, key: str = "", **given: Any) -> Any:
    headers = bearer(key) if key else None
    reply = await whole.send(method, API + path, headers=headers, **given)
    assert reply.status_code == status, reply.text
    return reply.json() if reply.content else None


async def a_user(whole: Whole, *roles: str, key: str = "") -> dict[str, Any]:
    body = {"name": f"u{new_id()}", "roles": roles or ["viewer"]}
    return dict(await ask(whole, "POST", "/users", 201, key, json=body))


async def a_key(whole: Whole, *roles: str, key: str = "") -> dict[str, Any]:
    made = dict(await ask(whole, "POST", "/api-keys", 201, key, json={"name": "k", "roles": roles or ["viewer"]}))
    await becomes(whole, made["secret"], f"{API}/me", 200)
    return made


async def a_role(whole: Whole, *permissions: str, status: int = 201, key: str = "", **facts: Any) -> str:
    name = f"r{new_id()}"
    await ask(whole, "POST", "/roles", status, key, json={"name": name, "permissions": permissions} | facts)
    return name


async def grant(
    whole: Whole, role: str, kind: str, subject: str, status: int = 201, key: str = "", **facts: Any
) -> dict[str, Any]:
    body = {"role": role, "subject_kind": kind, "subject_id": subject} | facts
    return dict(await ask(whole, "POST", "/grants", status, key, json=body))


async def becomes(whole: Whole, key: str, path: str, status: int, method: str = "GET", **given: Any) -> httpx.Response:
    async def answer() -> httpx.Response | None:
        reply = await whole.send(method, path, headers=bearer(key), **given)
        return reply if reply.status_code == status else None

    found: httpx.Response = await until(answer)
    return found


async def may(cache: CredentialCache, name: str, permission: Permission, wanted: bool) -> None:
    async def is_so() -> bool:
        found = cache.find(name)
        return wanted == (found is not None and permission in found.permissions)

    await until(is_so)
