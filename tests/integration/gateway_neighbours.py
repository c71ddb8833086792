"""The gateway on a bus that knows its allow-lists, and neighbours that speak the real contracts of the services."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import nats as nats_client
import numpy as np
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import BaseModel

from deploy.embedded.testing_servers import NatsServer
from services.gateway.app import build
from shared import frames, oip
from shared.bus import ERROR_HEADER, settle
from shared.credentials import Credential, credential_subject, key_digest
from shared.errors import AimassError, InvalidInput
from shared.events.common import Signature, TensorSpec
from shared.permissions import Role
from shared.service import Service
from shared.signatures import read_request
from shared.tensors import Tensor, from_numpy, to_numpy
from tests.integration.running import until

ASKED_OF = ("auth", "registry", "trainer", "inference", "evaluator", "monitor")
SIGNATURE = Signature(
    inputs=(TensorSpec(name="pixels", datatype="FP32", shape=(-1, 4)),),
    outputs=(TensorSpec(name="sum", datatype="FP32", shape=(-1,)),),
)


@dataclass
class Asked:
    """A request as it arrived at a neighbour."""

    subject: str
    headers: dict[str, str]
    body: dict[str, Any]


Answer = BaseModel | AimassError | None


@dataclass
class Neighbours:
    """All services that the gateway asks; `answers` says what to, by verb; None is never answered."""

    connection: Client
    answers: dict[str, Answer | Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    requests: list[frames.Request] = field(default_factory=list)
    messages: int = 0
    version: str = "3"
    infer: Callable[[frames.Request], Awaitable[frames.Reply | None]] | None = None

    async def listen(self, services: Collection[str]) -> None:
        for service in services:
            await self.connection.subscribe(f"rpc.{service}.>", queue=service, cb=self._answer)

    async def serve(self, model: str, project: str = "default") -> Any:
        """Answer predictions for a model, as inference does."""
        subscription = await self.connection.subscribe(f"infer.{project}.{model}", queue="inference", cb=self._predict)
        await settle(self.connection)
        return subscription

    async def _answer(self, message: Msg) -> None:
        asked = Asked(message.subject, dict(message.headers or {}), json.loads(message.data))
        self.asked.append(asked)
        answer = self.answers[message.subject.split(".")[-1]]
        given = answer(asked) if callable(answer) else answer
        if isinstance(given, AimassError):
            wire = json.dumps(given.to_wire()).encode()
            await self.connection.publish(message.reply, wire, headers={ERROR_HEADER: given.code})
        elif given is not None:
            await self.connection.publish(message.reply, given.model_dump_json().encode())

    async def _predict(self, message: Msg) -> None:
        requests = frames.decode_requests(message.data)
        self.requests += requests
        self.messages += 1
        replies = [reply for request in requests if (reply := await self._reply(request)) is not None]
        if replies:
            await self.connection.publish(message.reply, frames.encode_replies(replies))

    async def _reply(self, request: frames.Request) -> frames.Reply | None:
        return await (self.infer(request) if self.infer else echo(request, self.version))


async def echo(request: frames.Request, version: str = "3") -> frames.Reply:
    """Sums the rows of the input, with the checks and the encoding of inference."""
    try:
        asked = read_request(request.body, request.header_length, SIGNATURE, "digits-cnn")
    except InvalidInput as error:
        return frames.Reply(request.prediction_id, 400, json.dumps({"error": error.message}).encode())
    body, header_length = oip.encode_reply(summed(asked.inputs[0], version), asked)
    return frames.Reply(request.prediction_id, 200, body, version, header_length)


def summed(tensor: Tensor, version: str = "3") -> oip.InferReply:
    output = from_numpy("sum", to_numpy(tensor).sum(axis=1, dtype=np.float32))
    return oip.InferReply("digits-cnn", version, (output,))


@dataclass
class Gateway:
    """A running gateway and what stands around it."""

    service: Service
    url: str
    server: NatsServer
    connection: Client
    neighbours: Neighbours
    http: httpx.AsyncClient

    async def make_key(self, role: Role = Role.ADMIN, **facts: Any) -> str:
        """A key in the bucket, as auth puts it there."""
        secret = "aim_" + secrets.token_hex(32)
        await self.put_key(secret, role, **facts)
        return secret

    async def put_key(self, secret: str, role: Role = Role.ADMIN, **facts: Any) -> None:
        credential = Credential(**{"key_id": f"key-{role.value}", "name": "n", "roles": (role,)} | facts)
        await self.put(secret, credential.model_dump_json().encode())

    async def put(self, secret: str, payload: bytes, headers: dict[str, str] | None = None) -> None:
        await self.connection.jetstream().publish(credential_subject(key_digest(secret)), payload, headers=headers)

    async def status(self, key: str, path: str = "/v2") -> int:
        return (await self.http.get(path, headers=bearer(key))).status_code

    async def becomes(self, key: str, status: int, path: str = "/v2") -> None:
        async def is_so() -> bool:
            return await self.status(key, path) == status

        await until(is_so)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def running_gateway(
    server: NatsServer, url: str, neighbours_of: Collection[str] = ASKED_OF
) -> AsyncIterator[Gateway]:
    """The gateway as its main module builds it, configured by its environment, until it is ready."""
    service = build()
    task = asyncio.create_task(service.run())
    connection = await nats_client.connect(server.url, reconnect_time_wait=0.1, max_reconnect_attempts=-1)
    neighbours = Neighbours(connection)
    await neighbours.listen(neighbours_of)

    async def ready() -> bool:
        if task.done():
            await task
        return service.readiness.problems() == {}

    await until(ready)
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        yield Gateway(service, url, server, connection, neighbours, http)
    await connection.close()
    service.stop()
    await task


class Stream:
    """Reads server-sent events as a client does."""

    def __init__(self, gateway: Gateway, path: str, key: str, **headers: str) -> None:
        self._opening = gateway.http.stream("GET", f"/api/v1{path}", headers=bearer(key) | headers)

    async def __aenter__(self) -> "Stream":
        self._response = await self._opening.__aenter__()
        assert self._response.headers["content-type"].startswith("text/event-stream")
        self._lines = self._response.aiter_lines()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._opening.__aexit__(*error)

    async def next(self) -> dict[str, Any] | None:
        """The next event; None at the stream's end."""
        found: dict[str, Any] = {}
        async with asyncio.timeout(60):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if name in ("id", "event", "data"):
                    found[name] = json.loads(value) if name == "data" else value
                elif not line and found:
                    return found
        return None
