"""Whose answer comes, on a real Triton whose model processes are held up, killed and unloaded in the midst of calls.

The model says each row's number as often as it was asked, then zeros, so that every answer tells its request.
"""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import cycle
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from onnx import helper

from deploy.embedded.testing_servers import TritonServer
from services.inference.answers import Confused, Crashed
from services.inference.engine import Triton
from services.inference.repository import Repository
from services.inference.resources.memory import Processes
from shared import frames, oip
from shared.errors import AimassError, Unavailable
from shared.streams import withdrawn_subject
from shared.tensors import from_numpy, to_numpy
from tests.freezing import freeze, thaw
from tests.integration.onnx_models import Served, served, spec
from tests.integration.test_inference import House, cached_models, house, lost_seconds, new_id_bytes, settings, triton

__all__ = ["cached_models", "house", "lost_seconds", "settings", "triton"]

NAME = "default.affine.1"
SECONDS = 10.0
SETTLING_SECONDS = 60.0
AT_ONCE = 12
LONGEST = 400
ATTEMPTS = 8
FATES = ("answered", "late", "withdrawn")


def spoken(products: int = 12) -> Served:
    """y[row] is x[row] n[row] times, then zeros up to the longest; it takes the longer, the longer that is."""
    make = helper.make_node
    chain = [make("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(products)]
    return served(
        [
            make("ReduceMax", ["n"], ["longest"], keepdims=0),
            make("Range", ["zero", "longest", "one"], ["places"]),
            make("Less", ["places", "n"], ["is_spoken"]),
            make("Unsqueeze", ["longest", "axis"], ["size"]),
            make("Concat", ["size", "size"], ["square"], axis=0),
            make("Expand", ["nothing", "square"], ["m0"]),
            *chain,
            make("ReduceMax", [f"m{products}"], ["end"], keepdims=0),
            make("Add", ["x", "end"], ["word"]),
            make("Where", ["is_spoken", "word", "nothing"], ["y"]),
        ],
        [spec("x", "FP32", -1, 1), spec("n", "INT64", -1, 1)],
        [spec("y", "FP32", -1, -1)],
        zero=np.array(0, np.int64),
        one=np.array(1, np.int64),
        axis=np.array([0], np.int64),
        nothing=np.array(0, np.float32),
    )


MODEL = spoken()


def asked_for(x: NDArray[Any], n: NDArray[Any]) -> oip.InferRequest:
    return oip.InferRequest((from_numpy("x", x), from_numpy("n", n)), binary_default=True)


def check(y: NDArray[Any], x: NDArray[Any], n: NDArray[Any]) -> None:
    """An answer may be as long as those that it was computed with."""
    assert y.shape[0] == len(x)
    assert y.shape[1] >= n.max()
    np.testing.assert_array_equal(y, np.where(np.arange(y.shape[1]) < n, x, 0))


def stubs_of(server: TritonServer, name: str = NAME) -> list[psutil.Process]:
    """The processes of a model that live."""
    found = []
    for process in psutil.Process(server.pid).children(recursive=True):
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and any(name in part for part in process.cmdline()):
                found.append(process)
    return found


async def only_stub(server: TritonServer) -> psutil.Process:
    """The model's process, once the one before it is gone."""
    async with asyncio.timeout(SETTLING_SECONDS):
        while len(found := stubs_of(server)) != 1:
            await asyncio.sleep(0.05)
    return found[0]


class Engine:
    """Triton asked directly: a model, and the calls of two inference services."""

    def __init__(self, server: TritonServer) -> None:
        self.server, self.repository = server, Repository(server.repository)
        self.one, self.other = (Triton(server.http, server.grpc, server.access_header) for _ in range(2))
        self.repository.prepare()
        self.repository.write(NAME, MODEL.signature, MODEL.onnx, MODEL.digest)

    async def close(self) -> None:
        """Triton may end by itself after what these tests do."""
        for each in (self.one, self.other):
            await each.close()
        self.server.kill()
        self.server.start()

    async def ask(self, triton: Triton, word: float, length: int = 1, seconds: float = 60) -> None:
        x, n = np.full((1, 1), word, np.float32), np.full((1, 1), length, np.int64)
        reply = await triton.infer(NAME, asked_for(x, n), MODEL.signature, seconds)
        check(to_numpy(reply.outputs[0]), x, n)

    async def ask_and_hold_up(self, triton: Triton, word: float) -> None:
        """Triton gives a request up whose process is held up for a second, and that goes on with it then."""
        call = asyncio.create_task(self.ask(triton, word, 4 * LONGEST))
        await asyncio.sleep(0.05)
        stub = await only_stub(self.server)
        freeze(stub.pid)
        try:
            with pytest.raises(Crashed):
                await call
        finally:
            thaw(stub.pid)


@pytest.fixture
async def engine(triton: TritonServer) -> AsyncIterator[Engine]:
    found = Engine(triton)
    await found.one.load(NAME)
    yield found
    await found.close()


async def test_an_answer_to_another_request_is_refused(triton: TritonServer) -> None:
    """Who asks next does not know of it, as where the first caller did not wait; now and then Triton ends before."""
    met: list[type[AimassError]] = []
    while Confused not in met and len(met) < ATTEMPTS:
        engine = Engine(triton)
        try:
            await engine.one.load(NAME)
            await engine.ask_and_hold_up(engine.other, 7)
            with pytest.raises(Unavailable) as caught:
                await engine.ask(engine.one, 8)
            met.append(caught.type)
            if caught.type is Confused:
                with pytest.raises(Crashed):
                    await engine.ask(engine.one, 9)
        finally:
            await engine.close()
    assert Confused in met


async def test_nothing_is_left_of_a_confused_process(engine: Engine) -> None:
    await engine.ask_and_hold_up(engine.one, 7)
    Processes(engine.server.repository).end(NAME)
    engine.repository.renew(NAME)
    await engine.one.load(NAME)
    for word in range(20):
        await engine.ask(engine.one, word)
    assert len(stubs_of(engine.server)) == 1


class Crowd:
    """Asks inference again and again, in messages of several requests that share calls, and checks every answer."""

    def __init__(self, house: House, seed: int) -> None:
        self.house, self.dice, self.counts = house, random.Random(seed), Counter[str]()
        self.words, self.answered = 0, 0.0
        self.open: dict[bytes, asyncio.Future[frames.Reply]] = {}
        self.sent: dict[str, list[bytes]] = {}

    async def receive(self, message: Any) -> None:
        for reply in self._replies(message):
            self.open[reply.prediction_id].set_result(reply)

    def _replies(self, message: Any) -> list[frames.Reply]:
        """The bus says by an empty message that nobody listens: no version is there at all."""
        if message.data:
            return frames.decode_replies(message.data)
        return [frames.Reply(one, 503, b"nobody listens") for one in self.sent[message.subject]]

    async def ask(self, until: float) -> None:
        while time.monotonic() < until:
            await self.ask_once()

    async def ask_once(self) -> None:
        """A message of a few requests; who is refused waits a little."""
        refused = self.counts["503"]
        rows = [self.dice.randint(1, 4) for _ in range(self.dice.randint(1, 4))]
        await self._send([self._request(each) for each in rows])
        await asyncio.sleep(0.05 * (self.counts["503"] > refused))

    def _request(self, rows: int) -> tuple[frames.Request, NDArray[Any], NDArray[Any], str]:
        self.words += rows
        x = np.arange(self.words - rows, self.words, dtype=np.float32)[:, None] + 1
        n = np.array([[self.dice.randint(1, LONGEST)] for _ in range(rows)])
        body, header_length = oip.encode_request(asked_for(x, n))
        fate = self.dice.choices(FATES, (6, 2, 1))[0]
        seconds = self.dice.uniform(0.01, 0.3) if fate == "late" else 60
        deadline = int((time.time() + seconds) * 1000)
        return frames.Request(new_id_bytes(), deadline, body, header_length, version="1"), x, n, fate

    async def _send(self, sent: list[tuple[frames.Request, NDArray[Any], NDArray[Any], str]]) -> None:
        requests, subject = [request for request, *_ in sent], f"inferred.gateway.test.{len(self.sent)}"
        self.sent[subject] = [request.prediction_id for request in requests]
        self.open |= {one: asyncio.get_running_loop().create_future() for one in self.sent[subject]}
        frame = frames.encode_requests(requests)
        await self.house.connection.publish("infer.default.affine", frame, reply=subject)
        if ids := [request.prediction_id for request, _, _, fate in sent if fate == "withdrawn"]:
            await self.house.connection.publish(withdrawn_subject("default", "affine"), b"".join(ids))
        for request, x, n, _ in sent:
            self._judge(await self.open[request.prediction_id], x, n)

    def _judge(self, reply: frames.Reply, x: NDArray[Any], n: NDArray[Any]) -> None:
        self.counts[str(reply.status)] += 1
        assert reply.status in (200, 499, 503, 504), bytes(reply.body)
        if reply.status == 200:
            self.answered = time.time()
            check(to_numpy(oip.decode_reply(reply.body, reply.header_length).outputs[0]), x, n)


@pytest.fixture
async def crowd(house: House) -> AsyncIterator[Crowd]:
    await house.register(MODEL, 1)
    await house.said("deployment_staged")
    found = Crowd(house, seed=5)
    subscription = await house.connection.subscribe("inferred.gateway.test.*", cb=found.receive)
    yield found
    await subscription.unsubscribe()


async def disturb(server: TritonServer, crowd: Crowd, until: float) -> None:
    """Hold processes up, kill them, and unload the model, as others do; one that starts is let be."""
    turns = cycle(DISTURBANCES)
    while time.monotonic() < until:
        await asyncio.sleep(crowd.dice.uniform(0.2, 0.5))
        stubs = stubs_of(server)
        if stubs and all(stub.create_time() < crowd.answered for stub in stubs):
            how = next(turns)
            crowd.counts[how.__name__] += 1
            await how(server, stubs[0])


async def hold_up(server: TritonServer, stub: psutil.Process) -> None:
    """A second may be enough for Triton to give it up; two are."""
    freeze(stub.pid)
    await asyncio.sleep(random.uniform(1, 2.2))
    with suppress(ProcessLookupError):
        thaw(stub.pid)


async def kill(server: TritonServer, stub: psutil.Process) -> None:
    stub.kill()


async def unload(server: TritonServer, stub: psutil.Process) -> None:
    """Who really unloads would wait until it is gone, and inference loads it again at once."""
    async with httpx.AsyncClient(headers=[server.access_header]) as client:
        response = await client.post(f"{server.http}/v2/repository/models/{NAME}/unload", timeout=60)
        assert response.status_code == 200, response.text


DISTURBANCES = (hold_up, unload, kill)


def restart_if_ended(server: TritonServer) -> None:
    """Triton may end by itself where a process goes on in the moment in which it is given up: then it is started anew.

    So does the supervisor of the stack.
    """
    ended = server.process.poll() if server.process else None
    assert ended in (None, -signal.SIGABRT, -signal.SIGSEGV)
    if ended:
        server.start()


async def test_in_a_crowd_everyone_gets_an_answer_of_ones_own(crowd: Crowd, triton: TritonServer) -> None:
    until = time.monotonic() + SECONDS
    async with asyncio.TaskGroup() as group:
        group.create_task(disturb(triton, crowd, until))
        for _ in range(AT_ONCE):
            group.create_task(crowd.ask(until))
    assert crowd.counts["200"] and crowd.counts["hold_up"], crowd.counts
    restart_if_ended(triton)
    crowd.counts.clear()
    async with asyncio.timeout(SETTLING_SECONDS):
        while not crowd.counts["200"]:
            await crowd.ask_once()


async def test_a_version_heals_after_every_crash(crowd: Crowd, triton: TritonServer) -> None:
    """Triton keeps a process that has crashed where no file of its model is newer than when it was loaded."""
    for _ in range(3):
        stub = await only_stub(triton)
        stub.kill()
        async with asyncio.timeout(SETTLING_SECONDS):
            while not crowd.counts["200"]:
                await crowd.ask_once()
        crowd.counts.clear()


async def test_a_process_that_is_given_up_after_its_caller_has_left_is_replaced(
    crowd: Crowd, triton: TritonServer
) -> None:
    """Nobody asks in the meantime: who did would be sent to it."""
    stub = await only_stub(triton)
    freeze(stub.pid)
    x, n = np.ones((1, 1), np.float32), np.ones((1, 1), np.int64)
    body, header_length = oip.encode_request(asked_for(x, n))
    deadline = int((time.time() + 0.2) * 1000)
    late = frames.Request(new_id_bytes(), deadline, body, header_length, version="1")
    message = await crowd.house.connection.request("infer.default.affine", frames.encode_requests([late]), timeout=60)
    assert frames.decode_replies(message.data)[0].status == 504
    async with asyncio.timeout(SETTLING_SECONDS):
        while stubs_of(triton) in ([], [stub]):
            await asyncio.sleep(0.1)
        while not crowd.counts["200"]:
            await crowd.ask_once()
    assert not stub.is_running() or stub.status() == psutil.STATUS_ZOMBIE
