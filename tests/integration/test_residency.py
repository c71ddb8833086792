"""Who waits for a parked version, and what ends the wait: the real queues, with a Triton that is played."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from services.inference.data_plane import DataPlane
from services.inference.domain import Deployment, Routing
from services.inference.prediction_log import PredictionLog
from services.inference.resources.domain import Bounds
from services.inference.resources.residency import Residency
from services.inference.settings import Settings
from shared import frames, oip
from shared.body_store import BodyStore
from shared.errors import AimassError, ModelFailed, Unavailable
from shared.events.deployment import VersionParked, VersionRestored
from shared.tensors import from_numpy
from tests.integration.onnx_models import affine
from tests.integration.running import until
from tests.integration.test_inference import new_id_bytes

MODEL = affine()
ROOM_FOR_TWO = 250


class Played:
    """Answers, loads and unloads as Triton does; a load fails with `failure`, answers wait for `gate`."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.unloaded: list[str] = []
        self.failure: AimassError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def infer(self, name: str, asked: oip.InferRequest, signature: Any, seconds: float) -> oip.InferReply:
        await self.gate.wait()
        y = np.zeros((asked.inputs[0].shape[0], 3), np.float32)
        return oip.InferReply(name, "1", (from_numpy("y", y),))

    async def load(self, name: str) -> None:
        self.loaded.append(name)
        if self.failure:
            raise self.failure

    async def unload(self, name: str) -> None:
        self.unloaded.append(name)


class Node:
    """Versions a, b and c of 100 MiB each, where two have room; c is parked."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        given = {"memory_mb": ROOM_FOR_TWO, "instance_mb": 100, "idle_seconds": 0} | settings
        self.settings = Settings(
            triton_repository=folder / "triton",
            artifacts_url=f"file://{folder}/artifacts",
            home_dir=folder,
            **given,
        )
        self.triton, self.routing = Played(), Routing()
        bodies = BodyStore(self.settings.artifacts_url, self.settings.home_dir)
        self.plane = DataPlane(cast(Any, self.triton), self.routing, PredictionLog("node"), bodies, self.settings)
        self.residency = Residency(self.settings, cast(Any, None), cast(Any, self.triton), self.routing, self.plane)
        self.residency.repository.prepare()
        for name in "abc":
            found = Deployment("default", name, 1, MODEL.digest, MODEL.signature, "serving")
            self.residency.repository.write(found.name, MODEL.signature, MODEL.onnx, MODEL.digest)
            self.routing.wanted[found.name] = found
            self.routing.routes["default", name] = 1
        self.routing.ready = frozenset({"default.a.1", "default.b.1"})
        self.routing.parked = frozenset({"default.c.1"})
        self.plane.park("default.c.1")

    async def ask(self, model: str, seconds: float = 60) -> frames.Reply:
        x = from_numpy("x", np.ones((1, 4), np.float32))
        body, header = oip.encode_request(oip.InferRequest((x,), binary_default=True))
        request = frames.Request(new_id_bytes(), int((time.time() + seconds) * 1000), body, header)
        return await self.plane.answer("default", model, request)

    def decided(self) -> list[Any]:
        return [event for _, event in self.residency._untold]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Callable[..., Node]]:
    turning: list[asyncio.Task[None]] = []

    def start(**settings: Any) -> Node:
        made = Node(tmp_path, **settings)
        turning.append(asyncio.create_task(made.residency.run()))
        return made

    yield start
    for each in turning:
        each.cancel()
    await asyncio.gather(*turning, return_exceptions=True)


async def test_the_one_asked_longest_ago_goes(node: Callable[..., Node]) -> None:
    there = node()
    for name in "bac":
        assert (await there.ask(name)).status == 200
    parked, restored = there.decided()
    assert (type(parked), parked.model, type(restored), restored.model) == (VersionParked, "b", VersionRestored, "c")
    assert "to make room for default.c.1" in parked.reason
    assert (there.triton.unloaded, there.triton.loaded) == (["default.b.1"], ["default.c.1"])


async def test_who_was_just_asked_stays_and_the_wait_has_an_end(node: Callable[..., Node]) -> None:
    there = node(idle_seconds=60, warm_up_seconds=0.3)
    await asyncio.gather(there.ask("a"), there.ask("b"))
    reply = await there.ask("c")
    assert (reply.status, reply.retry_after) == (503, 2)
    assert "100 MiB for it are not free of 250 MiB: 200 MiB are taken" in json.loads(bytes(reply.body))["error"]
    assert there.decided() == []


async def test_nobody_with_a_request_goes_and_without_hope_nobody_waits(node: Callable[..., Node]) -> None:
    there = node()
    there.triton.gate.clear()
    busy = [asyncio.create_task(there.ask(name)) for name in "ab"]
    await until(lambda: in_flight(there, "ab"))
    with pytest.raises(Unavailable, match="in use"):
        await there.ask("c")
    there.triton.gate.set()
    assert [reply.status for reply in await asyncio.gather(*busy)] == [200, 200]
    assert (await there.ask("c")).status == 200


async def in_flight(there: Node, names: str) -> bool:
    return all(there.plane.in_flight(f"default.{name}.1") for name in names)


async def test_a_load_that_fails_is_told_and_tried_again_at_the_next_request(node: Callable[..., Node]) -> None:
    there = node()
    there.triton.failure = ModelFailed("broken")
    replies = await asyncio.gather(there.ask("c"), there.ask("c"))
    assert [reply.status for reply in replies] == [503, 503]
    assert "broken" in json.loads(bytes(replies[0].body))["error"]
    assert there.triton.loaded == ["default.c.1"]
    there.triton.failure = None
    assert (await there.ask("c")).status == 200


async def test_a_triton_that_is_away_is_waited_for(node: Callable[..., Node]) -> None:
    there = node()
    there.triton.failure = Unavailable("Triton is not reachable")
    asked = asyncio.create_task(there.ask("c"))
    await until(lambda: tried(there))
    there.triton.failure = None
    assert (await asked).status == 200


async def tried(there: Node) -> bool:
    return len(there.triton.loaded) > 1


async def test_nothing_is_loaded_for_those_who_went_away(node: Callable[..., Node]) -> None:
    there = node(idle_seconds=60)
    await asyncio.gather(there.ask("a"), there.ask("b"))
    asked = asyncio.create_task(there.ask("c"))
    await until(lambda: in_flight(there, "c"))
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await until(lambda: nobody_is_awaited(there))
    assert there.triton.loaded == []


async def nobody_is_awaited(there: Node) -> bool:
    return there.residency.facts()["default.c.1"]["state"] == "parked"


async def test_what_is_pinned_never_goes_and_comes_back_unasked(node: Callable[..., Node]) -> None:
    there = node()
    for name in "bc":
        there.routing.bounds["default", name] = Bounds(pinned=True)
    await until(lambda: is_resident(there, "c"))
    assert there.triton.unloaded == ["default.a.1"]
    with pytest.raises(Unavailable, match="pinned"):
        await there.ask("a")


async def is_resident(there: Node, name: str) -> bool:
    return there.residency.facts()[f"default.{name}.1"]["state"] == "resident"


async def test_who_waits_for_a_version_that_is_not_deployed_any_more_hears_so(node: Callable[..., Node]) -> None:
    there = node(idle_seconds=60)
    await asyncio.gather(there.ask("a"), there.ask("b"))
    asked = asyncio.create_task(there.ask("c"))
    await until(lambda: in_flight(there, "c"))
    del there.routing.wanted["default.c.1"]
    assert (await asked).status == 503
