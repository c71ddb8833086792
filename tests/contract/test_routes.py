"""Every route of the gateway, one by one: nobody in without a key, nobody beyond his role, none without a guard."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Match

from deploy.reference import ASYNCAPI
from services.gateway import docs
from services.gateway.access import Gatekeeper
from services.gateway.caller import Edges
from services.gateway.control import PUBLIC_PATHS, ControlEdge, control_app
from services.gateway.credentials import CredentialCache, Principal
from services.gateway.limits.limits import Limits
from services.gateway.limits.shares import Shares
from services.gateway.limits.uses import Uses
from services.gateway.metering import Meter
from services.gateway.open_inference.bodies import InferenceBodies
from services.gateway.open_inference.data_plane import DataPlane
from services.gateway.open_inference.deferral import Deferral
from services.gateway.open_inference.grpc_methods import METHODS, request_class
from services.gateway.open_inference.protocol import InferenceProtocol
from services.gateway.open_inference.routes import InferenceRoutes
from services.gateway.operations import CHALLENGE, OpsPorts
from services.gateway.predict.predictor import Predictor
from services.gateway.routes import declare, oidc
from services.gateway.routes.declare import GuardedRoute, guarded_routes
from services.gateway.server import Edge
from services.gateway.settings import Settings
from services.gateway.sse import Followers
from services.gateway.uploads import Uploads
from shared.artifacts import Artifacts
from shared.body_store import BodyStore
from shared.bus import Bus
from shared.credentials import Credential, key_digest
from shared.permissions import Permission, Role, granted
from shared.phonemes import Phonemes
from shared.reading import StreamReader
from shared.settings import ServiceSettings

NOWHERE = "http://127.0.0.1:1"
JWKS = "/.well-known/jwks.json"
LET_IN = {"/api/v1/login", "/api/v1/login/refresh", "/api/v1/token", "/api/v1/invitations/accept"}
PUBLIC = docs.PATHS | {"/openapi.json", "/asyncapi.json", JWKS, "/v2/health/live", "/v2/health/ready"}
WRITES = {
    Permission.TASKS_WRITE,
    Permission.MODELS_WRITE,
    Permission.MODELS_PROMOTE,
    Permission.DATASETS_WRITE,
    Permission.DEPLOYMENTS_WRITE,
    Permission.ARTIFACTS_COLLECT,
    Permission.KEYS_MANAGE,
    Permission.PRICES_MANAGE,
    Permission.QUOTAS_MANAGE,
    Permission.EXTENSIONS_WRITE,
    Permission.USERS_MANAGE,
    Permission.PROJECTS_MANAGE,
    Permission.MODELS_SHARE,
    Permission.PASSWORD_CHANGE,
    Permission.INFER,
    Permission.LETTERS_DECIDE,
}
SECRET = {Permission.KEYS_MANAGE, Permission.USERS_MANAGE, Permission.PROJECTS_MANAGE, Permission.MODELS_SHARE}
SECRET |= {Permission.PASSWORD_CHANGE, Permission.INFER}
FOR_PEOPLE = ("/api/v1/me/", "/api/v1/logout")
ASKED_WITHIN = {Permission.MODELS_FORCE}  # by a route that needs another one first


def never_connected() -> Any:
    raise AssertionError("this test has no bus")


class Parts:
    """The gateway's HTTP side, put together as its composition root does, without a bus."""

    def __init__(self) -> None:
        bus = Bus("gateway", ServiceSettings())
        self.cache = CredentialCache(stale_seconds=3600)
        gatekeeper = Gatekeeper(self.cache)
        readers = (StreamReader(bus, "EVT"), StreamReader(bus, "LOG"))
        uploads = Uploads(Artifacts("memory:///"), Path(), gatekeeper, 1000, 1, 1)
        store = BodyStore("memory:///", Path())
        plane, bodies = DataPlane(never_connected, 10), InferenceBodies(store, 1000)
        routes = InferenceRoutes(plane, bodies, Deferral(store, 1000, bus), bus, self.cache.problem, 10, 60).routes()
        meter = Meter(bus, self.cache, 5)
        uses = Uses(bus, 60)
        limits = Limits(Settings(port=1), Shares(bus), uses)
        self.protocol = InferenceProtocol(routes, gatekeeper, limits, meter)
        ops = OpsPorts({"auth": NOWHERE})
        predictor = Predictor(self.protocol)
        edges = Edges(bus, gatekeeper, Followers(1), *readers, uploads, ops, store, predictor, Phonemes())
        self.control = control_app(edges)
        self.app = Edge(ControlEdge(self.control, gatekeeper, limits, meter), self.protocol)


PARTS = Parts()


def key_of(role: Role) -> str:
    return f"aim_{role.value}"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    for role in Role:
        digest = key_digest(key_of(role))
        PARTS.cache.put(Principal.of(digest, Credential(key_id=role.value, name=role.value, roles=(role,))))
    PARTS.cache.confirm()
    transport = httpx.ASGITransport(PARTS.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def guarded() -> list[tuple[str, str, Permission]]:
    """Every route that is not public: method, path and permission."""
    found = [
        (method, route.path, route.permission)
        for route in PARTS.control.routes
        if isinstance(route, GuardedRoute) and route.permission is not None
        for method in sorted(route.methods or ())
    ]
    return found + [(r.method, r.template, r.permission) for r in PARTS.protocol.routes.values() if r.permission]


def concrete(path: str) -> str:
    values = {
        "task_id": "train-01890000-0000-7000-8000-000000000000",
        "pipeline_id": "pipeline-01890000-0000-7000-8000-000000000000",
        "evaluation_id": "evaluate-01890000-0000-7000-8000-000000000000",
        "key_id": "01890000-0000-7000-8000-000000000000",
        "user_id": "01890000-0000-7000-8000-000000000000",
        "account_id": "01890000-0000-7000-8000-000000000000",
        "provider": "digits-cnn",
        "invitation_id": "01890000-0000-7000-8000-000000000000",
        "session_id": "01890000-0000-7000-8000-000000000000",
        "grant_id": "01890000-0000-7000-8000-000000000000",
        "share_id": "01890000-0000-7000-8000-000000000000",
        "inference_id": "01890000-0000-7000-8000-000000000000",
        "version": "1",
        "service": "auth",
        "page": "status",
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "digits-cnn"), path)


def test_only_these_routes_are_public() -> None:
    open_ones = [route for route in PARTS.control.routes if getattr(route, "permission", None) is None]
    others: set[str] = {route.path for route in open_ones}  # type: ignore[attr-defined]
    assert others == PUBLIC_PATHS | oidc.TEMPLATES
    health = {route.template for route in PARTS.protocol.routes.values() if route.permission is None}
    assert others | health == PUBLIC | LET_IN | oidc.TEMPLATES
    assert [route.methods for route in open_ones if isinstance(route, GuardedRoute)] == [
        *[{"POST"}] * len(LET_IN),
        *[{"GET"}] * len(oidc.TEMPLATES),
    ]


def test_there_are_routes_of_each_kind() -> None:
    assert {permission for _, _, permission in guarded()} == set(Permission) - ASKED_WITHIN
    assert len(guarded()) > 25


def test_a_route_that_declares_no_permission_cannot_be_made() -> None:
    app = FastAPI()
    app.router.route_class = guarded_routes()
    with pytest.raises(TypeError, match="declares no permission"):

        @app.get("/forgotten")
        async def forgotten() -> None: ...


def test_a_path_that_one_application_declares_hides_nothing_of_another() -> None:
    found = []
    for paths in (("/things/best", "/things/{name}"), ("/things/{name}",)):
        app, scope = FastAPI(), {"type": "http", "method": "DELETE", "path": "/things/best"}
        app.router.route_class = guarded_routes()
        for path in paths:
            app.add_api_route(path, list, methods=["GET"], openapi_extra={declare.PERMISSION: declare.PUBLIC})
        made = [route for route in app.routes if isinstance(route, GuardedRoute)]
        found.append([route.path for route in made if route.matches(scope)[0] is not Match.NONE])
    assert found == [["/things/best"], ["/things/{name}"]]


def test_routes_that_change_something_need_a_permission_that_a_viewer_lacks() -> None:
    for method, path, permission in guarded():
        is_search = path.startswith("/mlflow/") and path.endswith("/search")  # which that protocol sends as POST
        asks = method in ("GET", "HEAD") or is_search or path == "/api/v1/permissions/check"
        assert (permission in WRITES) == (not asks or permission in SECRET), path


@pytest.mark.parametrize("path", sorted(PUBLIC))
async def test_public_routes_need_no_key(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code in (200, 503)


async def test_the_documentation_needs_no_other_host(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy
    start = await client.get("/docs/start.js")
    for text in (policy, page.text, start.text):
        assert "//" not in text.replace("<!doctype", "")
    asked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert set(asked) == docs.PATHS - {"/docs"}
    for path in asked:
        assert (await client.get(path)).status_code == 200
    assert "url(http" not in (await client.get("/docs/swagger-ui.css")).text


@pytest.mark.parametrize(("method", "path", "permission"), guarded())
@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer aim_unknown", "Basic YTpi", "Bearer ä", "bearer x"])
async def test_nobody_without_a_key(
    client: httpx.AsyncClient, method: str, path: str, permission: Permission, key: str | None
) -> None:
    headers = {} if key is None else {"Authorization": key.encode("latin-1")}
    reply = await client.request(method, concrete(path), headers=headers, content=b"{not json")
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == (CHALLENGE if path.startswith("/ops/") else "Bearer")
    named = "error" if path.startswith(("/v1/", "/v2")) else "error_code" if path.startswith("/mlflow/") else "detail"
    assert reply.json()[named]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("method", "path", "permission"), guarded())
async def test_nobody_beyond_his_role(
    client: httpx.AsyncClient, method: str, path: str, permission: Permission, role: Role
) -> None:
    headers = {"Authorization": f"Bearer {key_of(role)}"}
    reply = await client.request(method, concrete(path), headers=headers)
    if permission in granted([role]):
        if path.startswith(FOR_PEOPLE) and reply.status_code in (403, 404):
            assert "API key" in reply.text
            return
        assert reply.status_code in (200, 307, 400 if path.startswith(("/v1/", "/mlflow/")) else 422, 503)
    else:
        assert reply.status_code == 403
        assert permission.value in reply.text


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1", "/api/v1/models/", "/v2/nothing", "/v2/repository/index"])
async def test_unknown_routes_tell_nobody_anything(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 401
    reply = await client.get(path, headers={"Authorization": f"Bearer {key_of(Role.ADMIN)}"})
    assert reply.status_code == 404


async def test_wrong_methods_are_told(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {key_of(Role.ADMIN)}"}
    control = await client.delete("/api/v1/models", headers=headers)
    assert (control.status_code, control.headers["allow"]) == (405, "GET")
    assert control.headers["content-type"] == "application/problem+json"
    protocol = await client.get("/v2/models/digits-cnn/infer", headers=headers)
    assert protocol.status_code == 405 and "error" in protocol.json()


async def test_keys_that_are_not_loaded_let_nobody_in(client: httpx.AsyncClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(PARTS.cache, "_checked", None)
    for path in ("/api/v1/models", "/v2/models/digits-cnn"):
        reply = await client.get(path, headers={"Authorization": f"Bearer {key_of(Role.ADMIN)}"})
        assert reply.status_code == 503 and reply.headers["retry-after"] == "1"


async def test_the_document_of_the_bus_stands_beside_that_of_the_api(client: httpx.AsyncClient) -> None:
    answer = await client.get("/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == ASYNCAPI.read_bytes()


async def test_openapi_names_the_permission_of_each_route(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    public = [document["paths"][path]["post"] for path in LET_IN]
    public += [document["paths"][path]["get"] for path in oidc.TEMPLATES]
    assert all(each["x-permission"] == "public" and "security" not in each for each in public)
    operations = [operation for operation in operations if operation not in public]
    assert len(operations) > 20
    assert all(Permission(operation["x-permission"]) for operation in operations)
    assert all(operation["security"] == [{"HTTPBearer": []}] for operation in operations)


@pytest.mark.parametrize("version", ["", "3"])
@pytest.mark.parametrize("model", ["", "digits-cnn"])
def test_every_method_over_grpc_is_a_route(model: str, version: str) -> None:
    for name, method in METHODS.items():
        fields = set(request_class(name).DESCRIPTOR.fields_by_name)
        names = {"name": model, "model_name": model, "version": version, "model_version": version}
        if method.of_all and not model:
            names = {}
        request = request_class(name)(**{field: value for field, value in names.items() if field in fields})
        assert (method.verb, method.target(request)[0]) in PARTS.protocol.routes
