"""The gateway before a real registry and a real inference with its Triton, and versions that were trained elsewhere."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import nats as nats_client
import pytest

from deploy.embedded.testing_servers import TritonServer, nats_server
from deploy.provision import bus_users, declarations, provision_bus_over
from shared.artifacts import Artifacts
from shared.credentials import Credential, credential_subject, key_digest
from shared.events.training import TrainingCompleted
from shared.permissions import Role
from shared.rpc.registry import RegisterDataset, SetAlias
from shared.streams import SERVICES
from tests.conftest import DatabaseUrls
from tests.integration.gateway_neighbours import bearer
from tests.integration.onnx_models import Served
from tests.integration.running import Ask, Running, asking, running_service, until
from tests.integration.whole_gateway import environment

PARTS = {"train": "1" * 64, "validation": "2" * 64, "test": "3" * 64}


@dataclass
class ServedGateway:
    """What a test asks over HTTP, and how it brings a version to be asked."""

    url: str
    key: str
    http: httpx.AsyncClient
    registry: Running
    ask: Ask
    artifacts: Artifacts
    connection: Any

    async def make_key(self, role: Role, project: str = "default") -> str:
        secret = "aim_" + secrets.token_hex(32)
        credential = Credential(key_id=f"key-{role.value}", name="n", roles=(role,), project=project)
        body = credential.model_dump_json().encode()
        await self.connection.jetstream().publish(credential_subject(key_digest(secret)), body)

        async def is_known() -> bool:
            return (await self.http.get("/v2", headers=bearer(secret))).status_code == 200

        await until(is_known)
        return secret

    async def train(self, model: str, served: Served, features: list[dict[str, Any]], **facts: Any) -> None:
        """Register a version as a finished training does; it is staged by itself."""
        dataset, digest = f"{model}-data", secrets.token_hex(32)
        schema = {"features": features, "target": {"name": "target", "datatype": "INT64"}}
        await self.ask(RegisterDataset(name=dataset, digest=digest, parts=PARTS, facts={"schema": schema}))
        trained = TrainingCompleted(
            task_id=f"train-{secrets.token_hex(8)}",
            model=model,
            digest=await self.artifacts.put(served.onnx),
            dataset=dataset,
            dataset_digest=digest,
            code_version="1",
            signature=served.signature,
            **facts,
        )
        await self.registry.publish(trained)

    async def promote(self, model: str, version: int = 1) -> None:
        """Let a version answer, once it is registered and staged."""

        async def is_staged() -> bool:
            return (await self.http.get(f"/v2/models/{model}/versions/{version}/ready")).status_code == 200

        await until(is_staged)
        await self.ask(SetAlias(model=model, alias="champion", version=version, force=True, reason="a test"))

        async def answers() -> bool:
            document = (await self.http.get(f"/v2/models/{model}/stats")).json()
            return bool(document) and (await self._serving(model)) == version

        await until(answers)

    async def _serving(self, model: str) -> int | None:
        found = (await self.http.get("/api/v1/deployments", params={"model": model})).json()["deployments"]
        return next((each["version"] for each in found if each["state"] == "serving" and each["ready"]), None)


@asynccontextmanager
async def served_gateway(
    urls: DatabaseUrls, folder: Path, triton: TritonServer, **settings: str
) -> AsyncIterator[ServedGateway]:
    """`settings` are the gateway's, in place of those that tests have otherwise."""
    users = bus_users(dict.fromkeys(SERVICES, "password"))
    async with AsyncExitStack() as stack:
        server = stack.enter_context(nats_server(folder / "nats", users))
        port = stack.enter_context(environment(server, urls, folder))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in _reached(triton).items():
            patch.setenv(f"INFERENCE_TRITON_{name}", value)
        for name, value in settings.items():
            patch.setenv(f"GATEWAY_{name.upper()}", value)
        await provision_bus_over(server.url, declarations())
        started = {}
        for service in ("registry", "inference", "gateway"):
            built = import_module(f"services.{service}.app").build()
            handlers = import_module(f"services.{service}.handlers").HANDLERS
            started[service] = await stack.enter_async_context(running_service(built, handlers, server))
        connection = await nats_client.connect(server.url)
        stack.push_async_callback(connection.close)
        base = f"http://127.0.0.1:{port}"
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=60))
        ask = await stack.enter_async_context(asking(server))
        artifacts = Artifacts((folder / "artifacts").as_uri())
        house = ServedGateway(base, "", http, started["registry"], ask, artifacts, connection)
        house.key = await house.make_key(Role.ADMIN)
        http.headers.update(bearer(house.key))
        yield house


def _reached(triton: TritonServer) -> dict[str, str]:
    name, value = triton.access_header
    return {
        "URL": triton.http,
        "GRPC": triton.grpc,
        "REPOSITORY": str(triton.repository),
        "ACCESS_HEADER_NAME": name,
        "ACCESS_HEADER_VALUE": value,
    }
