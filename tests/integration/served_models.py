"""A neighbour of evaluator: what answers on infer.> as inference does, with small ONNX models and their moods."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import nats as nats_client
import numpy as np
import onnxruntime
from nats.aio.client import Client
from nats.aio.msg import Msg
from numpy.typing import NDArray
from onnx import helper

from shared import frames, oip
from shared.bus import settle
from shared.tensors import from_numpy, to_numpy
from tests.integration.onnx_models import Served, served, spec


def linear(weights: NDArray[np.float32]) -> Served:
    """A classifier of digits: softmax(flattened image x weights)."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    inputs, outputs = [spec("image", "FP32", -1, 1, 8, 8)], [spec("probabilities", "FP32", -1, 10)]
    return served(nodes, inputs, outputs, weights=weights.astype("<f4"))


@dataclass
class DataPlane:
    """Answers for the versions in `models`; `moods` holds statuses to answer with first, `permits` how many go out."""

    models: dict[str, Any] = field(default_factory=dict)
    moods: list[int] = field(default_factory=list)
    asked: list[frames.Request] = field(default_factory=list)
    pause: float = 0.0
    permits: asyncio.Semaphore | None = None
    together: int = 0
    most_together: int = 0

    def serve(self, version: int, model: Served) -> None:
        self.models[str(version)] = onnxruntime.InferenceSession(model.onnx)

    def let_go(self) -> None:
        """From now on all answers go out."""
        if self.permits:
            for _ in self.asked:
                self.permits.release()
        self.permits = None

    async def answer(self, message: Msg) -> None:
        (request,) = frames.decode_requests(message.data)
        self.asked.append(request)
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        await asyncio.sleep(self.pause)
        if self.permits:
            await self.permits.acquire()
        self.together -= 1
        await message.respond(frames.encode_replies([self._reply(request)]))

    def _reply(self, request: frames.Request) -> frames.Reply:
        status = self.moods.pop(0) if self.moods else 200 if request.version in self.models else 404
        if status != 200:
            body = json.dumps({"error": f"answered with {status}"}).encode()
            return frames.Reply(request.prediction_id, status, body)
        asked = oip.parse_request(request.body, request.header_length)
        (found,) = self.models[request.version].run(None, {asked.inputs[0].name: to_numpy(asked.inputs[0])})
        answer = oip.InferReply("digits-cnn", request.version, (from_numpy("probabilities", found),))
        body, header_length = oip.encode_reply(answer, asked)
        return frames.Reply(request.prediction_id, 200, body, request.version, header_length)


@asynccontextmanager
async def data_plane(url: str) -> AsyncIterator[DataPlane]:
    """A data plane that listens until the block ends."""
    plane = DataPlane()
    connection: Client = await nats_client.connect(url)
    running: set[asyncio.Task[None]] = set()

    async def receive(message: Msg) -> None:
        task = asyncio.create_task(plane.answer(message))
        running.add(task)
        task.add_done_callback(running.discard)

    await connection.subscribe("infer.>", queue="inference", cb=receive)
    await settle(connection)
    try:
        yield plane
    finally:
        await connection.close()
