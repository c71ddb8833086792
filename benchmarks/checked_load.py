"""Requests at a rate to models that multiply and add; each answer tells which version gave it.

The rows of the last model are so large that they travel by the ways of large bodies, in and out.
"""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import aiohttp
import numpy as np
from numpy.typing import NDArray

from benchmarks.brought import weighted
from benchmarks.verdicts import Asked
from shared.oip import HEADER_LENGTH

MODELS = tuple(f"mixed-{number}" for number in range(1, 6))
IN_FLIGHT = 16
COLUMNS = 4
WIDE_COLUMNS = 50_000
MOST_ROWS = 3
Array = NDArray[np.float32]
NUMBERS = np.random.default_rng(4).integers(0, 1000, 2 * MOST_ROWS * WIDE_COLUMNS).astype("<f4")


def factor(model: str) -> int:
    return MODELS.index(model) + 2


def offset(version: int) -> int:
    """With the factors so small that single precision holds every answer exactly."""
    return 6000 * version


def columns(model: str) -> int:
    return WIDE_COLUMNS if model == MODELS[-1] else COLUMNS


def model_of(model: str, version: int) -> bytes:
    """The ONNX file of a version: y = factor x + offset."""
    return weighted(factor(model), offset(version), columns(model))


@dataclass(frozen=True)
class Load:
    """A random model gets random rows, a few requests at once at most; `asked` grows by every one that has ended."""

    session: aiohttp.ClientSession
    gateway: str
    models: Sequence[str]
    dice: random.Random
    asked: list[Asked] = field(default_factory=list)

    async def run(self, seconds: float, rate: float) -> None:
        slots, due = asyncio.Semaphore(IN_FLIGHT), time.monotonic()
        deadline = due + seconds
        async with asyncio.TaskGroup() as group:
            while due < deadline:
                await slots.acquire()
                group.create_task(self._ask()).add_done_callback(lambda _: slots.release())
                due = max(due + 1 / rate, time.monotonic())
                await asyncio.sleep(due - time.monotonic())

    async def _ask(self) -> None:
        model, rows = self.dice.choice(self.models), self.dice.randint(1, MOST_ROWS)
        size = rows * columns(model)
        first = self.dice.randrange(len(NUMBERS) - size)
        x = NUMBERS[first : first + size]
        started = time.time()
        try:
            status, body, length = await self._post(model, rows, x)
        except (aiohttp.ClientError, TimeoutError) as error:
            status, body, length = 0, repr(error).encode(), 0
        ended = time.time()
        if status != 200:
            self.asked.append(Asked(model, started, ended, status, said=body[:200].decode(errors="replace")))
            return
        version = int(json.loads(body[:length])["model_version"])
        is_right = np.array_equal(np.frombuffer(body[length:], "<f4"), factor(model) * x + offset(version))
        self.asked.append(Asked(model, started, ended, status, version, is_right))

    async def _post(self, model: str, rows: int, x: Array) -> tuple[int, bytes, int]:
        head = request_head(rows, columns(model))
        headers = {HEADER_LENGTH: str(len(head))}
        url = f"{self.gateway}/v2/models/{model}/infer"
        async with self.session.post(url, data=head + x.tobytes(), headers=headers) as reply:
            return reply.status, await reply.read(), int(reply.headers.get(HEADER_LENGTH, 0))


@lru_cache
def request_head(rows: int, width: int) -> bytes:
    size = {"binary_data_size": 4 * rows * width}
    tensor: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [rows, width], "parameters": size}
    return json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
