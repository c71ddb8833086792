"""Answers that have any length, or are larger than a message of the bus, as evaluator reads them."""

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import nats as nats_client
import numpy as np
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from deploy.embedded.testing_servers import NatsServer, nats_server
from services.evaluator.data_plane import DataPlane
from services.evaluator.domain import Version
from services.evaluator.settings import Settings
from shared import frames, oip
from shared.body_store import BodyStore
from shared.bus import settle
from shared.events.common import Signature
from shared.settings import ServiceSettings
from shared.tensors import from_numpy, to_numpy
from tests.integration.onnx_models import spec

SIGNATURE = Signature(inputs=(spec("count", "INT64", -1),), outputs=(spec("audio", "FP32", -1, -1),))


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


async def reply(bodies: BodyStore, asked: list[int], message: Msg) -> None:
    """As many samples as each item says; long answers lie in the object store."""
    (request,) = frames.decode_requests(message.data)
    given = oip.parse_request(request.body, request.header_length)
    counts = to_numpy(given.inputs[0])
    asked.append(len(counts))
    samples = np.zeros((len(counts), counts.max()), "<f4")
    for row, count in zip(samples, counts, strict=True):
        row[:count] = count
    answer = oip.InferReply("voice", "1", (from_numpy("audio", samples),))
    body, header_length = oip.encode_reply(answer, given)
    found = frames.Reply(request.prediction_id, 200, body, "1", header_length)
    if samples.nbytes > 1000:
        await bodies.keep(frames.reply_claim(request.prediction_id), bytes(body))
        found = found._replace(body=b"", is_claimed=True)
    await message.respond(frames.encode_replies([found]))


async def stage(version: Version) -> None:
    """All versions are there."""
    raise AssertionError(f"{version.version} was to be staged")


async def connected(url: str) -> Client:
    return await nats_client.connect(url)


async def test_answers_of_any_length_are_asked_one_by_one_and_filled_up(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings]
) -> None:
    settings = Settings(**settings_of("evaluator").model_dump())
    bodies = BodyStore(settings.artifacts_url, settings.home_dir)
    plane, asked = DataPlane(partial(connected, nats.url), bodies, settings, stage), []
    neighbour = await nats_client.connect(nats.url)
    await neighbour.subscribe("infer.>", cb=partial(reply, bodies, asked))
    await settle(neighbour)
    version = Version("p", "voice", 1, "", "speech", "", "", "", "", (), SIGNATURE, (), False)
    try:
        found = await plane.outputs(version, {"count": np.array([3, 1000, 1])}, lambda _: None)
    finally:
        await plane.close()
        await neighbour.close()
    assert asked == [1, 1, 1]
    assert [np.count_nonzero(row) for row in found] == [3, 1000, 1]
    assert found.shape == (3, 1000) and found[:, 0].tolist() == [3, 1000, 1]
    assert not any((Path(settings.artifacts_url.removeprefix("file://")) / "claims").iterdir())


class Slow:
    """Answers one request at a time, each after a while, and never one that came in the meantime."""

    def __init__(self, bodies: BodyStore) -> None:
        self.bodies, self.busy = bodies, False
        self.granted: list[float] = []
        self.working: set[asyncio.Task[None]] = set()

    async def receive(self, message: Msg) -> None:
        (request,) = frames.decode_requests(message.data)
        self.granted.append(request.deadline / 1000 - time.time())
        if not self.busy:
            self.busy = True
            self.working.add(asyncio.create_task(self.answer(message)))

    async def answer(self, message: Msg) -> None:
        await asyncio.sleep(0.3)
        self.busy = False
        await reply(self.bodies, [], message)


async def test_a_slow_version_is_asked_less_at_once_and_waited_for(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings]
) -> None:
    settings = Settings(**settings_of("evaluator").model_dump(), request_seconds=0.2, patience_seconds=0.1)
    bodies = BodyStore(settings.artifacts_url, settings.home_dir)
    plane, slow = DataPlane(partial(connected, nats.url), bodies, settings, stage), Slow(bodies)
    neighbour = await nats_client.connect(nats.url)
    await neighbour.subscribe("infer.>", cb=slow.receive)
    await settle(neighbour)
    version = Version("p", "voice", 1, "", "speech", "", "", "", "", (), SIGNATURE, (), False)
    try:
        found = await plane.outputs(version, {"count": np.arange(1, 9)}, lambda _: None)
    finally:
        await plane.close()
        await neighbour.close()
    assert [np.count_nonzero(row) for row in found] == [*range(1, 9)]
    assert max(slow.granted[:4]) <= 0.2 < 0.3 < max(slow.granted)


async def test_a_version_that_was_unstaged_is_brought_back(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings]
) -> None:
    settings = Settings(**settings_of("evaluator").model_dump())
    bodies = BodyStore(settings.artifacts_url, settings.home_dir)
    brought: list[int] = []

    async def stage_again(version: Version) -> None:
        brought.append(version.version)

    async def answer(message: Msg) -> None:
        (request,) = frames.decode_requests(message.data)
        if brought:
            await reply(bodies, [], message)
        else:
            await message.respond(frames.encode_replies([frames.Reply(request.prediction_id, 404, b"{}")]))

    plane = DataPlane(partial(connected, nats.url), bodies, settings, stage_again)
    neighbour = await nats_client.connect(nats.url)
    await neighbour.subscribe("infer.>", cb=answer)
    await settle(neighbour)
    version = Version("p", "voice", 1, "", "speech", "", "", "", "", (), SIGNATURE, (), False)
    try:
        found = await plane.outputs(version, {"count": np.array([3])}, lambda _: None)
    finally:
        await plane.close()
        await neighbour.close()
    assert found.shape == (1, 3)
    assert brought == [1]
