"""Roles, groups and grants over the gateway and auth on real servers, and on a second gateway's memory."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from services.gateway.credentials import BUCKET, CredentialCache, CredentialFeed
from services.gateway.settings import Settings
from services.registry.tagging import Tagging
from shared.bus import Bus
from shared.context import Context
from shared.credentials import credential_subject, key_digest
from shared.errors import Conflict, Forbidden, NotFound
from shared.grants import Condition
from shared.names import new_id
from shared.permissions import DESCRIPTIONS, Permission, Role
from shared.reading import StreamReader
from shared.rpc.auth import UpdateUser
from shared.rpc.grants import (
    AddGrant,
    AddMember,
    CreateGroup,
    CreateRole,
    DeleteGroup,
    ListGrants,
    RemoveMember,
    RevokeGrant,
)
from shared.sharing import tags_name
from shared.tokens import user_name
from tests.conftest import fresh_database
from tests.integration.gateway_neighbours import bearer
from tests.integration.granting_kit import API, a_key, a_role, a_user, ask, becomes, grant, may
from tests.integration.running import until
from tests.integration.whole_gateway import MODEL, Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
VERSION = """
INSERT INTO versions (project, model, version, digest, task_id, task_type, code_version, parameters, metrics, labels,
    signature, gate, card)
VALUES ('default', $1, 1, 'd', '', '', '', '{}', '{}', '[]', '{}', '[]', '{}')
"""
INPUT = {"inputs": [{"name": "pixels", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as started:
            yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(whole: Whole) -> AsyncIterator[Bus]:
    """What a gateway asks the services over."""
    bus = Bus("gateway", Settings())
    await bus.connect()
    yield bus
    await bus.broker.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def second(bus: Bus) -> AsyncIterator[CredentialCache]:
    """The memory of another gateway on the same bus."""
    cache = CredentialCache(60)
    feed = asyncio.create_task(CredentialFeed(cache, bus, StreamReader(bus, BUCKET)).run())
    yield cache
    feed.cancel()


async def test_a_role_is_made_granted_changed_and_taken_back_on_every_gateway(
    whole: Whole, second: CredentialCache
) -> None:
    key = await a_key(whole)
    name = key_digest(key["secret"])
    role = await a_role(whole, "audit:read", description="looks at decisions")
    assert (await ask(whole, "GET", f"/roles/{role}", 200))["permissions"] == ["audit:read"]
    given = await grant(whole, role, "key", key["id"])
    await becomes(whole, key["secret"], f"{API}/audit", 200)
    await may(second, name, Permission.AUDIT_READ, True)
    await ask(whole, "PUT", f"/roles/{role}", 200, json={"permissions": ["keys:manage"]})
    await becomes(whole, key["secret"], f"{API}/audit", 403)
    await becomes(whole, key["secret"], f"{API}/api-keys", 200)
    await may(second, name, Permission.AUDIT_READ, False)
    refused = await ask(whole, "DELETE", f"/roles/{role}", 409)
    assert "key k" in refused["detail"]
    await ask(whole, "DELETE", f"/grants/{given['id']}", 200)
    await becomes(whole, key["secret"], f"{API}/api-keys", 403)
    await may(second, name, Permission.KEYS_MANAGE, False)
    await ask(whole, "DELETE", f"/roles/{role}", 204)
    await ask(whole, "GET", f"/roles/{role}", 404)


async def test_built_in_roles_stay_as_they_are(whole: Whole) -> None:
    listed = {role["name"]: role for role in (await ask(whole, "GET", "/roles", 200))["roles"]}
    assert listed["admin"]["built_in"] and set(listed["admin"]["permissions"]) == {each.value for each in Permission}
    body = {"permissions": ["infer"]}
    await ask(whole, "POST", "/roles", 409, json=body | {"name": "viewer"})
    await ask(whole, "PUT", "/roles/viewer", 409, json=body)
    await ask(whole, "DELETE", "/roles/viewer", 409)
    described = (await ask(whole, "GET", "/permissions", 200))["permissions"]
    assert {each["name"]: each["description"] for each in described} == DESCRIPTIONS


async def test_members_have_what_their_group_has(whole: Whole, second: CredentialCache) -> None:
    user, group = await a_user(whole), f"g{new_id()}"
    group_id = (await ask(whole, "POST", "/groups", 201, json={"name": group}))["id"]
    await ask(whole, "POST", "/groups", 409, json={"name": group})
    member = f"/groups/{group}/members/{user['id']}"
    assert (await ask(whole, "PUT", member, 200))["members"] == [user["id"]]
    await grant(whole, "operator", "group", group_id)
    await may(second, user_name(user["id"]), Permission.INFER, True)
    await ask(whole, "DELETE", member, 200)
    await may(second, user_name(user["id"]), Permission.INFER, False)
    await ask(whole, "DELETE", member, 404)
    await ask(whole, "PUT", member, 200)
    await may(second, user_name(user["id"]), Permission.INFER, True)
    await ask(whole, "DELETE", f"/groups/{group}", 204)
    await may(second, user_name(user["id"]), Permission.INFER, False)
    assert group not in [found["name"] for found in (await ask(whole, "GET", "/groups", 200))["groups"]]


async def test_grants_with_conditions(whole: Whole) -> None:
    key = await a_key(whole)
    secret = key["secret"]
    limited = await grant(whole, "engineer", "key", key["id"], condition={"models": [f"{MODEL[:3]}*"]})
    infer = {"method": "POST", "json": INPUT}
    await becomes(whole, secret, f"/v2/models/{MODEL}/infer", 200, **infer)
    refused = await becomes(whole, secret, "/v2/models/other/infer", 403, **infer)
    for name in ("default.other", f"default.{MODEL}"):
        await becomes(whole, secret, f"/v2/models/{name}/infer", 403, **infer)
    assert limited["id"] in refused.json()["error"] and f"models {MODEL[:3]}*" in refused.json()["error"]
    task = {"kind": "train", "model": "other"}
    assert "model 'other'" in (await ask(whole, "POST", "/tasks", 403, secret, json=task))["detail"]
    assert (await whole.send("POST", f"{API}/tasks", headers=bearer(secret), json=task | {"model": MODEL})).is_success
    for body in (b"", b"[]", b"{", b'{"model": 1}', b'"digits-cnn"'):
        answer = await whole.send("POST", f"{API}/tasks", headers=bearer(secret), content=body)
        assert answer.status_code == 403
    await ask(whole, "PUT", "/models/other/aliases/staging", 403, secret, json={"version": 1})
    await ask(whole, "PUT", f"/models/{MODEL}/aliases/staging", 404, secret, json={"version": 1})
    await ask(whole, "DELETE", f"/grants/{limited['id']}", 200)
    await grant(whole, "engineer", "key", key["id"], condition={"aliases": ["staging"]})
    await becomes(whole, secret, f"{API}/models/other/aliases/staging", 404, "PUT", json={"version": 1})
    await ask(whole, "PUT", "/models/other/aliases/champion", 403, secret, json={"version": 1})
    await ask(whole, "POST", "/grants", 422, json={"role": "viewer", "condition": {"labels": ["x"]}})


async def test_who_may_promote_tagged_models_alone(whole: Whole) -> None:
    registry, model = whole.services["registry"], f"m{new_id()}"
    async with registry.database.connection() as connection:  # type: ignore[union-attr]
        await connection.execute("INSERT INTO models (project, name) VALUES ('default', $1)", model)
        await connection.execute(VERSION, model)
    key, role = await a_key(whole), await a_role(whole, "models:promote", "models:write")
    secret, alias = key["secret"], f"/models/{model}/aliases/staging"
    condition = {"tags": ["ready", "old"]}
    given = await grant(whole, role, "key", key["id"], condition=condition)

    async def promotes(status: int) -> str:
        async def answer() -> str | None:
            reply = await whole.send("PUT", API + alias, headers=bearer(secret), json={"version": 1})
            told = reply.status_code == 200 or given["id"] in reply.text
            return reply.text if reply.status_code == status and told else None

        return str(await until(answer))

    async def tagged(*tags: str) -> None:
        assert (await ask(whole, "PUT", f"/models/{model}/tags", 200, json={"tags": tags}))["tags"] == sorted({*tags})

    assert "tags ready, old" in await promotes(403)
    await tagged("ready", "b", "ready")
    await promotes(200)
    assert [found["name"] for found in (await ask(whole, "GET", "/models?tag=ready", 200))["models"]] == [model]
    assert (await ask(whole, "GET", "/models?tag=none", 200))["models"] == []
    question = {"permission": "models:promote", "model": model, "alias": "staging"}
    verdict = await ask(whole, "POST", "/permissions/check", 200, secret, json=question)
    assert verdict["allowed"] and "for tags ready, old" in verdict["why"]
    sources = (await ask(whole, "GET", "/me/permissions", 200, secret))["permissions"]
    assert condition["tags"] in [found["condition"]["tags"] for found in sources if found["condition"]]
    refused = await ask(whole, "PUT", f"/models/{model}/tags", 403, secret, json={"tags": ["ready", "mine"]})
    assert "cannot set tags" in refused["detail"]
    entry = credential_subject(tags_name("default", model))
    await whole.neighbours.connection.publish(entry, headers={"KV-Operation": "DEL"})
    await promotes(403)
    await Tagging(registry.relay).run()  # type: ignore[arg-type]
    await promotes(200)
    await tagged()
    assert model in await promotes(403)


async def test_nobody_grants_more_than_he_has(whole: Whole) -> None:
    role = await a_role(whole, "users:manage", "keys:manage", "models:read")
    clerk = await a_key(whole)
    await grant(whole, role, "key", clerk["id"])
    secret, victim = clerk["secret"], await a_user(whole, "admin")
    await becomes(whole, secret, f"{API}/grants", 200)
    for name in ("admin", "engineer"):
        await grant(whole, name, "key", clerk["id"], 403, secret)
        await ask(whole, "POST", "/users", 403, secret, json={"name": "eve", "roles": [name]})
        await ask(whole, "POST", "/api-keys", 403, secret, json={"name": "eve", "roles": [name]})
    await a_role(whole, "infer", status=403, key=secret)
    await ask(whole, "PUT", f"/roles/{role}", 403, secret, json={"permissions": ["users:manage", "infer"]})
    await ask(whole, "POST", f"/users/{victim['id']}/password", 403, secret)
    await ask(whole, "PATCH", f"/users/{victim['id']}", 403, secret, json={"disabled": True})
    group = await ask(whole, "POST", "/groups", 201, secret, json={"name": f"g{new_id()}"})
    await grant(whole, "admin", "group", group["id"])
    user = await a_user(whole)
    await ask(whole, "PUT", f"/groups/{group['name']}/members/{user['id']}", 403, secret)
    passed_on = await a_role(whole, "models:read", key=secret)
    await grant(whole, passed_on, "user", user["id"], 201, secret)
    await grant(whole, passed_on, "user", new_id(), 404, secret)


async def test_what_is_of_the_platform_is_for_who_runs_it(whole: Whole, second: CredentialCache) -> None:
    role, user = await a_role(whole, "audit:read", platform=True), await a_user(whole)
    assert (await ask(whole, "GET", f"/roles/{role}", 200))["project"] == "*"
    given = await grant(whole, role, "user", user["id"], platform=True)
    assert given["project"] == "*"
    await may(second, user_name(user["id"]), Permission.AUDIT_READ, True)
    found = second.find(user_name(user["id"]), "elsewhere")
    assert found is not None and found.permissions == {Permission.AUDIT_READ}


async def test_the_last_administrator_stays(whole: Whole) -> None:
    me = await ask(whole, "GET", "/me", 200)
    listed = (await ask(whole, "GET", "/grants", 200))["grants"]
    own = [found for found in listed if found["subject_id"] == me["id"]]
    assert [(found["id"], found["role"]) for found in own] == [("", "admin")]
    await ask(whole, "DELETE", f"/api-keys/{me['id']}", 409)


async def test_the_last_administrator_of_a_project_stays(whole: Whole, bus: Bus) -> None:
    ada, bob = await a_user(whole, "admin"), await a_user(whole)
    shop = Context(project="shop", actor=ada["id"])
    async with whole.services["auth"].database.connection() as connection:  # type: ignore[union-attr]
        await connection.execute("UPDATE users SET project = 'shop' WHERE id = ANY($1)", [ada["id"], bob["id"]])
    for change in ({"disabled": True}, {"roles": [Role.VIEWER]}):
        with pytest.raises(Conflict, match="last administrator of 'shop'"):
            await bus.ask(UpdateUser(user_id=ada["id"], **change), shop)
    group = await bus.ask(CreateGroup(name="admins"), shop)
    limits = {"condition": Condition(models=("*",))}
    for facts in (limits, {}):
        await bus.ask(AddGrant(role="admin", subject_kind="group", subject_id=group.id, **facts), shop)
        with pytest.raises(Conflict, match="last administrator"):
            await bus.ask(UpdateUser(user_id=ada["id"], disabled=True), shop)
    await bus.ask(AddMember(name="admins", user_id=bob["id"]), shop)
    await bus.ask(UpdateUser(user_id=ada["id"], disabled=True), shop)
    grants = (await bus.ask(ListGrants(subject_id=group.id), shop)).grants
    assert len(grants) == 2 and grants[0].condition is None
    removals = (
        RevokeGrant(grant_id=grants[0].id),
        RemoveMember(name="admins", user_id=bob["id"]),
        DeleteGroup(name="admins"),
        UpdateUser(user_id=bob["id"], disabled=True),
    )
    by_bob = Context(project="shop", actor=bob["id"])
    for removal in removals:
        with pytest.raises(Conflict, match="last administrator"):
            await bus.ask(removal, by_bob)
    await bus.ask(RevokeGrant(grant_id=grants[1].id), by_bob)
    with pytest.raises(Forbidden, match="whole platform"):
        await bus.ask(CreateRole(name="all", permissions=[Permission.INFER], platform=True), by_bob)
    with pytest.raises(NotFound):
        await bus.ask(RevokeGrant(grant_id=grants[0].id), Context(project="bank", actor=bob["id"]))


async def test_a_grant_ends_by_itself(whole: Whole, second: CredentialCache) -> None:
    user = await a_user(whole)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await grant(whole, "operator", "user", user["id"], 422, ends_at=past.isoformat())
    end = datetime.now(UTC) + timedelta(seconds=3)
    await grant(whole, "operator", "user", user["id"], ends_at=end.isoformat())
    await may(second, user_name(user["id"]), Permission.INFER, True)
    await may(second, user_name(user["id"]), Permission.INFER, False)
    listed = (await ask(whole, "GET", f"/grants?subject_id={user['id']}&implicit=false", 200))["grants"]
    assert listed == []


async def test_everybody_sees_why(whole: Whole) -> None:
    key = await a_key(whole)
    given = await grant(whole, "operator", "key", key["id"], condition={"models": ["vision-*"]})
    question = {"permission": "infer", "model": "vision-a"}

    async def knows() -> Any:
        found = await ask(whole, "POST", "/permissions/check", 200, key["secret"], json=question)
        return found if found["allowed"] else None

    assert (await until(knows))["grant"] == given["id"]
    sources = (await ask(whole, "GET", "/me/permissions", 200, key["secret"]))["permissions"]
    of_infer = [found for found in sources if found["permission"] == "infer"]
    assert [(found["role"], found["grant"]) for found in of_infer] == [("operator", given["id"])]
    assert {found["role"] for found in sources if found["permission"] == "models:read"} == {"viewer", "operator"}
    about = question | {"subject": key["id"]}
    assert (await ask(whole, "POST", "/permissions/check", 200, json=about))["grant"] == given["id"]
    other = await ask(whole, "POST", "/permissions/check", 200, json=about | {"model": "text"})
    assert not other["allowed"] and given["id"] in other["why"]
    stranger = await a_key(whole)
    await becomes(whole, stranger["secret"], f"{API}/permissions/check", 403, "POST", json=about)
    await ask(whole, "POST", "/permissions/check", 404, json=about | {"subject": new_id()})
    await ask(whole, "DELETE", f"/api-keys/{key['id']}", 200)

    async def is_out() -> bool:
        found = await ask(whole, "POST", "/permissions/check", 200, json=about)
        return not found["allowed"] and "revoked" in found["why"]

    await until(is_out)


async def test_each_change_is_in_the_audit(whole: Whole) -> None:
    role, user = await a_role(whole, "infer"), await a_user(whole)
    given = await grant(whole, role, "user", user["id"])
    await ask(whole, "DELETE", f"/grants/{given['id']}", 200)
    await ask(whole, "PUT", f"/roles/{role}", 200, json={"permissions": ["audit:read"]})
    await ask(whole, "DELETE", f"/roles/{role}", 204)
    wanted = {"RoleCreated", "GrantAdded", "GrantRevoked", "RoleChanged", "RoleDeleted"}

    async def are_there() -> bool:
        entries = (await ask(whole, "GET", "/audit?limit=200", 200))["entries"]
        about = [entry for entry in entries if role in (entry["data"].get("name"), entry["data"].get("role"))]
        return {entry["type"].rpartition(".")[2] for entry in about} == wanted

    await until(are_there)


async def an_account(whole: Whole, *roles: str) -> dict[str, Any]:
    body = {"name": f"a{new_id()}", "roles": roles or ["viewer"]}
    made = dict(await ask(whole, "POST", "/service-accounts", 201, json=body))
    form = {"grant_type": "client_credentials", "client_id": made["id"], "client_secret": made["client_secret"]}
    answer = await whole.http.post(f"{API}/token", data=form, headers={"Authorization": ""})
    await becomes(whole, answer.json()["access_token"], f"{API}/me", 200)
    return made | {"token": answer.json()["access_token"]}


async def test_a_token_of_a_service_account_permits_what_is_granted_now(whole: Whole, second: CredentialCache) -> None:
    account = await an_account(whole)
    token, name = account["token"], user_name(account["id"])
    question = {"permission": "audit:read", "subject": account["id"]}
    given = await grant(whole, "admin", "account", account["id"])
    assert given["subject_name"] == account["name"]
    await becomes(whole, token, f"{API}/audit", 200)
    await may(second, name, Permission.AUDIT_READ, True)
    assert (await ask(whole, "POST", "/permissions/check", 200, json=question))["grant"] == given["id"]
    listed = (await ask(whole, "GET", f"/grants?subject_id={account['id']}", 200))["grants"]
    assert [(each["id"], each["role"]) for each in listed] == [(given["id"], "admin"), ("", "viewer")]
    await ask(whole, "DELETE", f"/grants/{given['id']}", 200)
    await becomes(whole, token, f"{API}/audit", 403)
    await may(second, name, Permission.AUDIT_READ, False)
    await grant(whole, "operator", "account", account["id"], platform=True)
    await may(second, name, Permission.INFER, True)
    for kind in ("user", "key"):
        await grant(whole, "viewer", kind, account["id"], 404)


async def test_a_service_account_has_what_its_group_has_until_it_is_gone(whole: Whole, second: CredentialCache) -> None:
    account, group = await an_account(whole), f"g{new_id()}"
    name, member = user_name(account["id"]), f"/groups/{group}/members/{account['id']}"
    group_id = (await ask(whole, "POST", "/groups", 201, json={"name": group}))["id"]
    await grant(whole, "operator", "group", group_id)
    assert (await ask(whole, "PUT", member, 200))["members"] == [account["id"]]
    await may(second, name, Permission.INFER, True)
    await ask(whole, "DELETE", member, 200)
    await may(second, name, Permission.INFER, False)
    await ask(whole, "PUT", member, 200)
    role = await a_role(whole, "audit:read")
    await grant(whole, role, "account", account["id"])
    assert account["name"] in (await ask(whole, "DELETE", f"/roles/{role}", 409))["detail"]
    await ask(whole, "DELETE", f"/service-accounts/{account['id']}", 204)
    await may(second, name, Permission.MODELS_READ, False)
    await ask(whole, "DELETE", f"/roles/{role}", 204)
    assert (await ask(whole, "GET", "/groups", 200))["groups"][-1]["members"] == []
    await grant(whole, "viewer", "account", account["id"], 404)


async def test_nobody_takes_rights_by_the_secret_of_a_service_account(whole: Whole, bus: Bus) -> None:
    role, account = await a_role(whole, "users:manage", "models:read"), await an_account(whole)
    clerk = await a_key(whole)
    await grant(whole, role, "key", clerk["id"])
    await becomes(whole, clerk["secret"], f"{API}/grants", 200)
    await ask(whole, "POST", f"/service-accounts/{account['id']}/secret", 403, clerk["secret"], json={})
    await grant(whole, "viewer", "key", clerk["id"], platform=True)
    shop = Context(project="shop", actor=clerk["id"])
    group = await bus.ask(CreateGroup(name="visitors"), shop)
    with pytest.raises(NotFound):
        await bus.ask(AddMember(name=group.name, user_id=account["id"]), shop)
    with pytest.raises(NotFound):
        await bus.ask(AddGrant(role="viewer", subject_kind="account", subject_id=account["id"]), shop)
