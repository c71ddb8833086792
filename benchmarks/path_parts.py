"""Gateway and inference as they stand in a process of their own, with what is around them played."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from uvicorn.server import ServerState

from services.gateway import server
from services.gateway.access import Gatekeeper
from services.gateway.credentials import CredentialCache, Principal
from services.gateway.limits.limits import Limits
from services.gateway.limits.shares import Shares
from services.gateway.limits.uses import Uses
from services.gateway.metering import Meter
from services.gateway.open_inference.bodies import InferenceBodies
from services.gateway.open_inference.data_plane import DataPlane
from services.gateway.open_inference.lane import Lane
from services.gateway.open_inference.protocol import InferenceProtocol
from services.gateway.open_inference.routes import InferenceRoutes
from services.gateway.settings import Settings
from services.inference.connections import Response
from services.inference.data_plane import DataPlane as Node
from services.inference.domain import Deployment, Routing
from services.inference.engine import Triton
from services.inference.numbers import NUMBERS
from services.inference.prediction_log import PredictionLog
from services.inference.settings import Settings as NodeSettings
from shared import frames, observe, oip, tensors
from shared.body_store import BodyStore
from shared.credentials import key_digest
from shared.direct import Arrived
from shared.events.common import Signature, TensorSpec
from shared.keys import new_secret
from shared.names import new_id
from shared.permissions import Permission
from shared.streams import infer_subject

STALE_SECONDS = 1e9
PROJECT, MODEL = "default", "digits"
ROW = np.arange(64, dtype=np.float32)[None]
LOGITS = tensors.from_numpy("logits", np.arange(10, dtype=np.float32)[None])
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 64)),),
    outputs=(TensorSpec(name="logits", datatype="FP32", shape=(-1, 10)),),
)


class Measured:
    """What is measured: `turn` asks once on each connection and ends when all have their answers."""

    def __init__(self, connections: int) -> None:
        self.connections, self.left = connections, 0
        self.played = 0.0

    async def turn(self) -> None:
        raise NotImplementedError

    async def window(self, seconds: float) -> float:
        """Microseconds of processor time a request, without what the parts around have taken."""
        self.played, turns, began = 0.0, 0, time.process_time()
        while (taken := time.process_time() - began) < seconds:
            await self.turn()
            turns += 1
        return 1e6 * (taken - self.played) / max(1, turns * self.connections)


class Wire:
    """What a socket is to the protocol."""

    def __init__(self, path: "GatewayPath") -> None:
        self._path = path
        self.answer = b""

    def write(self, data: bytes) -> None:
        self.answer = data
        self._path.left -= 1

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else None

    def _nothing(self, *_: Any) -> None:
        pass

    close = pause_reading = resume_reading = set_write_buffer_limits = _nothing


class PlayedBus:
    """Answers what the gateway sends, in the next turn."""

    is_connected = True

    def __init__(self, path: "GatewayPath") -> None:
        self._path = path

    async def listen(self, subject: str, listener: Any, queue: str = "") -> None:
        self._listener = listener

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        asyncio.get_running_loop().call_soon(self._answer, payload, reply)

    def _answer(self, payload: bytes, reply: str) -> None:
        began = time.process_time()
        number = new_id()
        body = oip.encode_reply(
            oip.InferReply(MODEL, "1", (LOGITS,), parameters={"prediction_id": number}),
            oip.InferRequest((), binary_default=True),
        )
        before, _, after = body.body[: body.header_length].partition(number.encode())
        facts = ("1", body.header_length, None, False, before, after)
        size = len(LOGITS.data)
        found = [
            frames.Answered(asked.ids, 200, size, bytes(LOGITS.data) * len(asked.ids), *facts)
            for asked in frames.decode_asked(payload)
        ]
        arrived = Arrived(reply, "", frames.encode_answers(found))
        self._path.played += time.process_time() - began
        self._listener(arrived)


class GatewayPath(Measured):
    """Connections of one caller, each with a request for the same model."""

    def __init__(self, connections: int) -> None:
        super().__init__(connections)
        self._key = new_secret()
        self._asked = self._request()
        self._wires: list[Wire] = []
        self._protocols: list[Any] = []

    @classmethod
    async def started(cls, connections: int) -> Self:
        self = cls(connections)
        config = server._config(*self._edge(await self._plane()))
        config.load()
        state = ServerState()
        state.default_headers = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"), *config.encoded_headers]
        self._protocols = [
            cast(Any, config.http_protocol_class)(config=config, server_state=state, app_state={})
            for _ in range(connections)
        ]
        self._wires = [Wire(self) for _ in self._protocols]
        for protocol, wire in zip(self._protocols, self._wires, strict=True):
            protocol.connection_made(wire)
        await self.turn()
        if not all(wire.answer.startswith(b"HTTP/1.1 200 ") for wire in self._wires):
            raise ValueError(f"answered {self._wires[0].answer!r}")
        return self

    async def _plane(self) -> DataPlane:
        bus = PlayedBus(self)

        async def connect(**_: Any) -> Any:
            return bus

        plane = DataPlane(connect, 1024)
        await plane.run()
        return plane

    def _edge(self, plane: DataPlane) -> tuple[Any, ...]:
        cache, bus = CredentialCache(STALE_SECONDS), cast(Any, None)
        name = key_digest(self._key)
        cache.put(Principal(name, "key", PROJECT, frozenset({Permission.INFER})))
        cache.confirm()
        observe._tracing.ratio = 0.01
        settings = Settings.model_construct(port=1, drain_seconds=1)
        bodies = InferenceBodies(BodyStore("memory:///", Path()), settings.infer_bytes)
        routes = InferenceRoutes(plane, bodies, cast(Any, None), bus, cache.problem, 10, 120)
        uses = Uses(bus, 60)
        limits = Limits(settings, Shares(bus), uses)
        gatekeeper = Gatekeeper(cache)
        protocol = InferenceProtocol(routes.routes(), gatekeeper, limits, Meter(bus, cache, 5))
        lane = Lane(protocol, routes, plane, gatekeeper)
        return settings, server.Edge(cast(Any, None), protocol), lane

    def _request(self) -> bytes:
        body = oip.encode_request(oip.InferRequest((tensors.from_numpy("x", ROW),)))
        head = (
            f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Length: {len(body.body)}\r\n"
            f"{oip.HEADER_LENGTH}: {body.header_length}\r\nContent-Type: application/octet-stream\r\n"
            f"Authorization: Bearer {self._key}\r\n\r\n"
        )
        return head.encode() + body.body

    async def turn(self) -> None:
        self.left = self.connections
        for protocol in self._protocols:
            protocol.data_received(self._asked)
        while self.left:
            await asyncio.sleep(0)


class PlayedPool:
    """Answers as Triton does."""

    def __init__(self, path: "InferencePath") -> None:
        self._path = path

    async def send(self, parts: Any) -> "asyncio.Future[Response]":
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._answer, parts, answer)
        return answer

    def _answer(self, parts: Any, answer: "asyncio.Future[Response]") -> None:
        began = time.process_time()
        numbers = bytes(parts[2])
        rows = len(numbers) // 8
        reply = oip.InferReply(
            MODEL,
            "1",
            (
                tensors.Tensor("logits", "FP32", (rows, 10), bytes(LOGITS.data) * rows),
                tensors.Tensor(NUMBERS, "INT64", (rows, 1), numbers),
            ),
        )
        found = oip.encode_reply(reply, oip.InferRequest((), binary_default=True))
        self._path.played += time.process_time() - began
        answer.set_result(Response(200, str(found.header_length), found.body))


class HeardBus:
    """What a node says to, and hears from."""

    is_connected = True

    def __init__(self, path: "InferencePath") -> None:
        self._path = path
        self.listeners: dict[str, Any] = {}

    async def listen(self, subject: str, listener: Any, queue: str = "") -> None:
        self.listeners[subject] = listener

    async def flush(self, timeout: float = 1) -> None:
        pass

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        began = time.process_time()
        self._path.left -= len(frames.decode_replies(payload))
        self._path.played += time.process_time() - began


class InferencePath(Measured):
    """A node with one model, asked by one gateway in messages of all connections."""

    def __init__(self, connections: int) -> None:
        super().__init__(connections)
        self._log = PredictionLog("node")
        self._hear: Callable[[Arrived], None] = lambda _: None

    @classmethod
    async def started(cls, connections: int) -> Self:
        self = cls(connections)
        deployment = Deployment(PROJECT, MODEL, 1, "", SIGNATURE, "serving")
        routing = Routing(wanted={deployment.name: deployment}, ready=frozenset({deployment.name}))
        routing.routes[PROJECT, MODEL] = 1
        triton = Triton("http://127.0.0.1:1", "", ("", ""))
        triton._pool = cast(Any, PlayedPool(self))
        settings = NodeSettings.model_construct()
        node, bus = Node(triton, routing, self._log, BodyStore("memory:///", Path()), settings), HeardBus(self)
        node.connect(cast(Any, bus))
        await node.follow()
        self._hear = bus.listeners[infer_subject(PROJECT, MODEL)]
        return self

    async def turn(self) -> None:
        began = time.process_time()
        message = Arrived(infer_subject(PROJECT, MODEL), "inferred.gateway.1.1", self._frame())
        self.left = self.connections
        self._log._kept.clear()
        self.played += time.process_time() - began
        self._hear(message)
        while self.left:
            await asyncio.sleep(0)

    def _frame(self) -> bytes:
        body = oip.encode_request(oip.InferRequest((tensors.from_numpy("x", ROW),)))
        trace = f"00-{new_id().replace('-', '')}-{'1' * 16}-00"
        ask = partial(frames.Request, deadline=int((time.time() + 10) * 1000), body=body.body)
        return frames.encode_requests(
            [
                ask(number_bytes, header_length=body.header_length, traceparent=trace, credential="key")
                for number_bytes in (number.to_bytes(16, "big") for number in range(self.connections))
            ]
        )
