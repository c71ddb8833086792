"""The gateway as it is built: TLS for HTTP and gRPC, headers of answers, cookies, documents that can be off."""

import ast
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from deploy import certificates
from deploy.embedded.ports import free_port
from deploy.embedded.testing_servers import NatsServer
from deploy.provision import provision_bus_over
from services.gateway.handlers import HANDLERS
from shared.permissions import Role
from shared.tls import client_context
from tests.integration.gateway_neighbours import Gateway, bearer, running_gateway
from tests.integration.running import guarded_bus

ROOT = Path(__file__).parents[2]
EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@asynccontextmanager
async def gateway(bus: NatsServer, **given: str) -> AsyncIterator[tuple[Gateway, str]]:
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWAY_NATS_URL", bus.servers)
        patch.setenv("GATEWAY_NATS_PASSWORD", "password")
        patch.setenv("GATEWAY_PORT", str(port))
        for name, value in given.items():
            patch.setenv(f"GATEWAY_{name.upper()}", value)
        await provision_bus_over(bus.url, [HANDLERS.declaration])
        async with running_gateway(bus, f"http://127.0.0.1:{port}") as found:
            yield found, f"127.0.0.1:{port}"


async def test_http_and_grpc_are_served_over_tls_with_a_certificate_that_changes(
    bus: NatsServer, tmp_path: Path
) -> None:
    folder, grpc_port = tmp_path / "tls", free_port()
    certificates.make(folder)
    files = {"tls_cert": str(folder / "edge.pem"), "tls_key": str(folder / "edge.key"), "grpc_port": str(grpc_port)}
    async with gateway(bus, **files) as (_, address):
        async with httpx.AsyncClient(base_url=f"https://{address}", verify=client_context(folder / "ca.pem")) as http:
            live = await http.get("/v2/health/live")
            assert live.status_code == 200
            assert live.headers["strict-transport-security"].startswith("max-age=31536000")
        assert await is_live(grpc_port, folder)
        before = (folder / "edge.pem").read_bytes()
        certificates.make(folder)
        assert (folder / "edge.pem").read_bytes() != before
        assert await is_live(grpc_port, folder)
        with pytest.raises(grpc.aio.AioRpcError):
            async with grpc.aio.insecure_channel(f"localhost:{grpc_port}") as channel:
                await live_of(channel)


async def is_live(port: int, folder: Path) -> bool:
    trusted = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{port}", trusted) as channel:
        return bool((await live_of(channel)).live)


async def live_of(channel: Any) -> Any:
    return await service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=20)


PATHS = ("/docs", "/openapi.json", "/asyncapi.json", "/api/v1/tasks", "/api/v1/jwks", "/nothing", "/v1/models")


async def test_every_answer_has_its_headers_and_none_a_cookie(bus: NatsServer) -> None:
    async with gateway(bus) as (found, _):
        key = await found.make_key(Role.ADMIN, key_id="key-1")
        await found.becomes(key, 200)
        for path in PATHS:
            for headers in ({}, bearer(key), bearer("wrong")):
                answer = await found.http.get(path, headers={**headers, "Cookie": "session=1"})
                assert "set-cookie" not in answer.headers
                assert "server" not in answer.headers
                policy = answer.headers["content-security-policy"]
                assert "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
                assert {name: answer.headers.get(name) for name in EVERYWHERE} == EVERYWHERE, path
                assert len(answer.headers.get_list("x-content-type-options")) == 1
        for path in ("/v2", "/v2/models/none/ready", "/v2/nothing"):
            answer = await found.http.get(path, headers=bearer(key))
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert not {"set-cookie", "server"} & set(answer.headers)


async def test_a_cookie_is_no_credential(bus: NatsServer) -> None:
    """Without one that browsers send by themselves, no page of others can act for its reader (CSRF)."""
    async with gateway(bus) as (found, _):
        key = await found.make_key(Role.ADMIN, key_id="key-1")
        await found.becomes(key, 200)
        for cookie in (f"authorization=Bearer {key}", f"token={key}", f"session={key}"):
            assert (await found.http.get("/v2", headers={"Cookie": cookie})).status_code == 401
            assert (await found.http.get("/api/v1/tasks", headers={"Cookie": cookie})).status_code == 401


def test_the_one_cookie_is_of_a_login_that_begins() -> None:
    """It tells a provider's callback which browser began; no script reads it, and it is sent nowhere else."""
    found = {}
    for path in (ROOT / "services").rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        made = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "set_cookie"]
        found |= {path.relative_to(ROOT / "services").as_posix(): made} if made else {}
    assert list(found) == ["gateway/routes/oidc.py"]
    (made,) = found.values()
    for call in made:
        options = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert options.keys() >= {"path", "secure"}
        assert (options["httponly"], options["samesite"]) == ("True", "'lax'")


async def test_documents_can_be_off(bus: NatsServer) -> None:
    async with gateway(bus, docs="false") as (found, _):
        for path in ("/docs", "/docs/swagger-ui.css", "/openapi.json", "/asyncapi.json"):
            assert (await found.http.get(path)).status_code == 404
        assert (await found.http.get("/v2/health/live")).status_code == 200
