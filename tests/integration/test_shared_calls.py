"""Requests that share messages and calls on a real Triton: each gets its own answer, and pays for nobody else."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Set
from itertools import count
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from deploy.embedded.testing_servers import TritonServer
from services.inference import data_plane
from services.inference.admission import Admission
from services.inference.answers import Crashed
from services.inference.calls import Calls, Outputs, Waiting
from services.inference.domain import Deployment
from services.inference.engine import Overdue
from services.inference.merging import merge_key
from services.inference.replies import Origin
from services.inference.settings import Settings
from shared import frames, oip
from shared.errors import AimassError, DeadlineExceeded, InvalidInput, Unavailable, Withdrawn
from shared.tensors import from_numpy, to_numpy
from tests.freezing import freeze
from tests.integration.onnx_models import Served, affine, doubled, lookup
from tests.integration.test_inference import House, cached_models, house, lost_seconds, new_id_bytes, settings, triton
from tests.integration.test_triton import stub_of

__all__ = ["cached_models", "house", "lost_seconds", "settings", "triton"]

Send = Callable[[list[frames.Request]], Any]


@pytest.fixture
async def send(house: House) -> AsyncIterator[Send]:
    """Send requests in one message, and the answers by prediction id, in however many messages they come."""
    found: dict[bytes, frames.Reply] = {}
    messages = 0
    came = asyncio.Event()

    async def receive(message: Any) -> None:
        nonlocal messages
        messages += 1
        found.update({reply.prediction_id: reply for reply in frames.decode_replies(message.data)})
        came.set()

    subscription = await house.connection.subscribe("inferred.gateway.test.*", cb=receive)

    async def send_all(requests: list[frames.Request]) -> tuple[list[frames.Reply], int]:
        frame = frames.encode_requests(requests)
        await house.connection.publish("infer.default.affine", frame, reply="inferred.gateway.test.1")
        async with asyncio.timeout(60):
            while any(request.prediction_id not in found for request in requests):
                came.clear()
                await came.wait()
        return [found[request.prediction_id] for request in requests], messages

    yield send_all
    await subscription.unsubscribe()


def request(name: str, array: Any, *, seconds: float = 60, trace: str = "") -> frames.Request:
    asked = oip.InferRequest((from_numpy(name, array),), binary_default=True)
    body, header_length = oip.encode_request(asked)
    deadline = int((time.time() + seconds) * 1000)
    return frames.Request(new_id_bytes(), deadline, body, header_length, traceparent=trace, version="1")


def output(reply: frames.Reply) -> Any:
    assert reply.status == 200, bytes(reply.body)
    return to_numpy(oip.decode_reply(reply.body, reply.header_length).outputs[0])


async def stage(house: House, model: Served) -> None:
    await house.register(model, 1)
    await house.said("deployment_staged")


async def test_each_request_has_the_answer_of_a_call_of_its_own(house: House, send: Send) -> None:
    await stage(house, affine())
    generator = np.random.default_rng(3)
    arrays = [generator.normal(size=(rows, 4)).astype(np.float32) for rows in (1, 5, 30, 2, 40, 64, 1, 1)]
    alone = [output((await send([request("x", array)]))[0][0]) for array in arrays]
    replies, messages = await send([request("x", array) for array in arrays])
    for reply, expected in zip(replies, alone, strict=True):
        np.testing.assert_allclose(output(reply), expected, rtol=1e-6, atol=1e-6)
    assert messages - len(arrays) < len(arrays)
    ids = [oip.decode_reply(reply.body, reply.header_length).parameters["prediction_id"] for reply in replies]
    assert len(set(ids)) == len(arrays)


async def test_a_bad_request_fails_alone(house: House, send: Send) -> None:
    await stage(house, lookup())
    indices = [3, 99, 0, 9]
    broken = request("index", np.array([[1]], np.int64))._replace(body=b"{}", header_length=None)
    late = request("index", np.array([[1]], np.int64), seconds=-1)
    good = [request("index", np.array([[index]], np.int64)) for index in indices]
    replies, _ = await send([broken, *good, late])
    assert [reply.status for reply in replies] == [400, 200, replies[2].status, 200, 200, 504]
    assert replies[2].status in (400, 500)
    assert [output(replies[place]).item() for place in (1, 3, 4)] == [30.0, 0.0, 90.0]


async def test_an_answer_that_json_cannot_hold_is_refused_alone(house: House, send: Send) -> None:
    """The header that they share asks for JSON; it is met first by one alone."""
    await stage(house, affine())

    def asked(value: float) -> frames.Request:
        array = np.full((1, 4), value, np.float32)
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": array.nbytes}}
        header = json.dumps({"inputs": [tensor]}).encode()
        deadline = int((time.time() + 60) * 1000)
        return frames.Request(new_id_bytes(), deadline, header + array.tobytes(), len(header), version="1")

    ((alone,), _) = await send([asked(1)])
    replies, _ = await send([asked(1), asked(np.inf), asked(1), asked(2)])
    assert [reply.status for reply in replies] == [200, replies[1].status, 200, 200]
    assert replies[1].status in (400, 500)
    for reply in (alone, replies[0], replies[2]):
        np.testing.assert_array_equal(output(reply), output(alone))


async def test_requests_that_are_alike_are_answered_as_each_alone(house: House, send: Send) -> None:
    """Their header is met first by one alone; a message of them is a call, and is answered by a message."""
    await stage(house, affine())
    arrays = np.random.default_rng(3).normal(size=(70, 1, 4)).astype(np.float32)
    alone = [output((await send([request("x", array)]))[0][0]) for array in arrays[:8]]
    before = (await send([request("x", arrays[0])]))[1]
    replies, messages = await send([request("x", array) for array in arrays[:8]])
    assert messages == before + 1
    for reply, expected in zip(replies, alone, strict=True):
        np.testing.assert_allclose(output(reply), expected, rtol=1e-6, atol=1e-6)
    replies, _ = await send([request("x", array) for array in arrays])
    for reply, array in zip(replies[:8], alone, strict=True):
        np.testing.assert_allclose(output(reply), array, rtol=1e-6, atol=1e-6)
    ids = [oip.decode_reply(reply.body, reply.header_length).parameters["prediction_id"] for reply in replies]
    assert len(set(ids)) == len(arrays)


async def test_who_is_recorded_shares_a_call(house: House, send: Send, triton: TritonServer) -> None:
    await stage(house, affine())
    arrays = np.random.default_rng(3).normal(size=(8, 1, 4)).astype(np.float32)
    alone = [output((await send([request("x", array)]))[0][0]) for array in arrays]
    before = calls_of(triton)
    traces = [f"00-{number:032x}-{number:016x}-0{number % 2}" for number in range(1, 9)]
    replies, _ = await send([request("x", array, trace=trace) for array, trace in zip(arrays, traces, strict=True)])
    for reply, expected in zip(replies, alone, strict=True):
        np.testing.assert_allclose(output(reply), expected, rtol=1e-6, atol=1e-6)
    assert calls_of(triton) - before == 1


def calls_of(triton: TritonServer) -> float:
    text = httpx.get(triton.metrics, timeout=10).raise_for_status().text
    counted = (each for each in text_string_to_metric_families(text) if each.name == "nv_inference_exec_count")
    return sum(sample.value for each in counted for sample in each.samples)


@pytest.mark.parametrize("step", ["read_request", "answer"])
async def test_an_error_of_ours_is_told_to_the_one_whom_it_meets(
    house: House, send: Send, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage(house, affine())
    inner, times = getattr(data_plane, step), count()

    def fail_once(*given: Any) -> Any:
        if next(times) == 1:
            raise RuntimeError("unforeseen")
        return inner(*given)

    monkeypatch.setattr(data_plane, step, fail_once)
    replies, _ = await send([request("x", np.ones((rows, 4), np.float32)) for rows in (1, 2, 3)])
    assert [reply.status for reply in replies] == [200, 500, 200]
    assert json.loads(bytes(replies[1].body)) == {"error": "inference failed; the log of the service says more"}


async def test_models_without_a_batch_axis_answer_one_by_one(house: House, send: Send) -> None:
    await stage(house, doubled(3))
    replies, _ = await send([request("x", np.full(3, number, np.float32)) for number in range(6)])
    assert [output(reply).tolist() for reply in replies] == [[2.0 * number] * 3 for number in range(6)]


class Counted:
    """Stands between the calls and Triton: counts the calls, and holds the first one up."""

    def __init__(self, outcome: Callable[[int], AimassError | None]) -> None:
        self.rows: list[int] = []
        self.suspected: list[str] = []
        self.lost: list[str] = []
        self.gate = asyncio.Event()
        self._outcome = outcome

    async def infer(self, name: str, asked: oip.InferRequest, signature: Any, seconds: float) -> oip.InferReply:
        self.rows.append(asked.inputs[0].shape[0])
        await self.gate.wait()
        if error := self._outcome(len(self.rows)):
            raise error
        return oip.InferReply(name, "1", (asked.inputs[0]._replace(name="y"),))

    def suspect(self, name: str) -> None:
        self.suspected.append(name)


def waiting(number: int, seconds: float = 10) -> Waiting:
    model = doubled(-1, 1)
    deployment = Deployment("default", "m", 1, "", model.signature, "serving")
    asked = oip.InferRequest((from_numpy("x", np.full((1, 1), number, np.float32)),))
    sent = frames.Request(new_id_bytes(), int((time.time() + seconds) * 1000), b"")
    key = merge_key(asked, model.signature)
    return Waiting(Origin.of("default", "m", "reply"), frames.asked(sent), deployment, asked, key, 1, 0.0)


def calls_to(triton: Any, admission: Admission, outcomes: dict[bytes, Outputs | AimassError]) -> Calls:
    def done(asked: Waiting, found: Outputs | AimassError) -> None:
        outcomes[asked.requests.ids[0]] = found

    return Calls(triton, done, admission, 1, 5, triton.lost.append)


async def answered(triton: Any, count: int, seconds: float = 10) -> list[Outputs | AimassError]:
    """The outcomes of requests of which the first is under way when the others come."""
    outcomes: dict[bytes, Outputs | AimassError] = {}
    admission = Admission(Settings(database_url=SecretStr("")).limits)
    calls = calls_to(triton, admission, outcomes)
    asked = [waiting(number, seconds if number else 10) for number in range(count)]
    for one in asked:
        calls.add(one)
        calls.start(one.deployment.name)
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    triton.gate.set()
    await calls.drain(5)
    assert admission.all == 0
    return [outcomes[one.requests.ids[0]] for one in asked]


async def test_what_waits_goes_into_the_next_call() -> None:
    triton: Any = Counted(lambda _: None)
    outcomes = await answered(triton, 100)
    assert triton.rows == [1, 64, 35]
    assert [to_numpy(found[0]).item() for found in outcomes if isinstance(found, tuple)] == list(range(100))


def alike(numbers: range, seconds: float = 10, late: tuple[int, ...] = ()) -> Waiting:
    """As many requests that are alike; each is known by its number."""
    model = doubled(-1, 1)
    deployment = Deployment("default", "m", 1, "", model.signature, "serving")
    tensor = from_numpy("x", np.array(numbers, np.float32)[:, None])
    asked = oip.InferRequest((tensor,))
    ids = tuple(number.to_bytes(16, "big") for number in numbers)
    deadlines = tuple(int((time.time() + (seconds if number not in late else -1)) * 1000) for number in numbers)
    requests = frames.Asked(ids, deadlines, ("",) * len(ids), b"start", 4, tensor.data, 5)
    key = merge_key(asked, model.signature)
    return Waiting(Origin.of("default", "m", "reply"), requests, deployment, asked, key, len(ids), 0.0)


async def told(triton: Any, groups: list[Waiting], gone: Set[bytes] = frozenset()) -> dict[int, Any]:
    """What each request is told: its row, or the error."""
    found: dict[int, Any] = {}

    def done(asked: Waiting, outcome: Outputs | AimassError) -> None:
        rows = [outcome] * asked.count if isinstance(outcome, AimassError) else to_numpy(outcome[0]).ravel().tolist()
        found.update(zip((int.from_bytes(one, "big") for one in asked.requests.ids), rows, strict=True))

    admission = Admission(Settings(database_url=SecretStr("")).limits)
    calls = Calls(triton, done, admission, 1, 5, triton.lost.append)
    for group in groups:
        calls.add(group)
        calls.start("default.m.1")
    calls.withdraw("default", "m", gone)
    triton.gate.set()
    await calls.drain(5)
    assert admission.all == 0
    return found


async def test_what_is_alike_is_cut_where_a_call_has_no_room_for_all() -> None:
    triton: Any = Counted(lambda _: None)
    found = await told(triton, [alike(range(100)), alike(range(100, 103)), alike(range(103, 250))])
    assert triton.rows == [64, 64, 64, 58]
    assert found == {number: number for number in range(250)}


async def test_who_is_late_or_has_gone_leaves_those_that_are_alike() -> None:
    triton: Any = Counted(lambda _: None)
    gone = {number.to_bytes(16, "big") for number in (11, 14)}
    found = await told(triton, [alike(range(8)), alike(range(10, 18), late=(12,))], gone)
    assert {type(found.pop(number)) for number in (11, 14)} == {Withdrawn}
    assert type(found.pop(12)) is DeadlineExceeded
    assert found == {number: number for number in (*range(8), 10, 13, 15, 16, 17)}
    assert triton.rows == [8, 5]


async def test_what_is_alike_and_refused_together_is_asked_for_one_by_one() -> None:
    triton: Any = Counted(lambda number: InvalidInput("no") if number in (1, 4) else None)
    found = await told(triton, [alike(range(5))])
    assert triton.rows == [5, 1, 1, 1, 1, 1]
    assert type(found.pop(2)) is InvalidInput
    assert found == {0: 0, 1: 1, 3: 3, 4: 4}


async def test_a_lost_server_is_told_to_all_and_not_asked_once_for_each() -> None:
    triton: Any = Counted(lambda number: AimassError("gone") if number == 2 else None)
    outcomes = await answered(triton, 9)
    assert triton.rows == [1, 8]
    assert [isinstance(found, AimassError) for found in outcomes] == [False] + [True] * 8


async def test_nobody_waits_for_a_version_that_has_lost_calls_in_a_row() -> None:
    triton: Any = Counted(lambda _: Unavailable("gone"))
    outcomes = await answered(triton, 100)
    assert triton.rows == [1, 64, 35]
    assert [type(found) for found in outcomes] == [Unavailable] * 100
    assert triton.suspected == triton.lost == ["default.m.1"]


async def test_nobody_waits_for_a_version_whose_process_has_crashed() -> None:
    triton: Any = Counted(lambda number: Crashed() if number == 2 else None)
    outcomes = await answered(triton, 100)
    assert triton.rows == [1, 64]
    assert [type(found) for found in outcomes] == [tuple] + [Crashed] * 99
    assert triton.lost == ["default.m.1"]


async def test_nothing_is_asked_while_a_call_is_at_work_whose_callers_have_left() -> None:
    rest = asyncio.get_running_loop().create_future()
    triton: Any = Counted(lambda number: Overdue("late", asyncio.ensure_future(rest)) if number == 1 else None)
    outcomes: dict[bytes, Outputs | AimassError] = {}
    calls = calls_to(triton, Admission(Settings(database_url=SecretStr("")).limits), outcomes)
    asked = [waiting(number) for number in range(3)]
    triton.gate.set()
    for one in asked:
        calls.add(one)
        calls.start("default.m.1")
    await asyncio.sleep(0.05)
    assert (triton.rows, [type(found) for found in outcomes.values()]) == ([1], [Overdue])
    rest.set_result(oip.InferReply("m", "1", ()))
    await calls.drain(5)
    assert (triton.rows, len(outcomes), triton.lost) == ([1, 2], 3, [])


async def test_nobody_waits_for_a_version_that_crashes_over_a_call_whose_callers_have_left() -> None:
    rest = asyncio.get_running_loop().create_future()
    rest.set_exception(Crashed())
    triton: Any = Counted(lambda _: Overdue("late", asyncio.ensure_future(rest)))
    outcomes = await answered(triton, 100)
    assert triton.rows == [1]
    assert [type(found) for found in outcomes] == [Overdue] + [Crashed] * 99
    assert triton.lost == ["default.m.1"]


async def test_nothing_is_asked_of_a_version_that_is_held_until_it_is_released() -> None:
    triton: Any = Counted(lambda _: None)
    outcomes: dict[bytes, Outputs | AimassError] = {}
    calls = calls_to(triton, Admission(Settings(database_url=SecretStr("")).limits), outcomes)
    calls.hold("default.m.1")
    for number in range(5):
        calls.add(waiting(number))
        calls.start("default.m.1")
    triton.gate.set()
    await asyncio.sleep(0)
    assert (triton.rows, outcomes) == ([], {})
    calls.release("default.m.1")
    await calls.drain(5)
    assert (triton.rows, len(outcomes)) == ([5], 5)


async def test_those_who_wait_for_a_held_version_can_be_refused_or_withdraw() -> None:
    triton: Any = Counted(lambda _: None)
    outcomes: dict[bytes, Outputs | AimassError] = {}
    admission = Admission(Settings(database_url=SecretStr("")).limits)
    calls, gone, refused = calls_to(triton, admission, outcomes), waiting(0), waiting(1)
    calls.hold("default.m.1")
    calls.add(gone)
    calls.add(refused)
    calls.withdraw("default", "m", {gone.requests.ids[0]})
    calls.refuse("default.m.1", Unavailable("no room"))
    assert [type(each) for each in outcomes.values()] == [Withdrawn, Unavailable]
    assert (triton.rows, admission.all) == ([], 0)


async def test_each_instance_has_a_call_of_its_own() -> None:
    triton: Any = Counted(lambda _: None)
    admission = Admission(Settings(database_url=SecretStr("")).limits)
    calls = calls_to(triton, admission, {})
    calls.set_instances("default.m.1", 3)
    for number in range(5):
        calls.add(waiting(number))
        calls.start("default.m.1")
    await asyncio.sleep(0)
    assert triton.rows == [1, 1, 1]
    assert calls.meter.read("default.m.1", calls.capacity("default.m.1"), calls.oldest("default.m.1")).busy > 0
    triton.gate.set()
    await calls.drain(5)
    assert triton.rows == [1, 1, 1, 2]
    assert admission.all == 0


@pytest.mark.parametrize("lost_seconds", [0.05])
async def test_a_hung_model_is_let_be_and_then_loaded_anew(house: House, send: Send, triton: TritonServer) -> None:
    await stage(house, affine())
    one = np.ones((1, 4), np.float32)
    process = stub_of(triton, "default.affine.1")
    freeze(process.pid)
    while (reply := (await send([request("x", one, seconds=0.6)]))[0][0]).status == 504:
        pass
    assert (reply.status, reply.retry_after) == (503, 5)
    async with asyncio.timeout(60):
        while (await send([request("x", one)]))[0][0].status != 200:
            await asyncio.sleep(0.1)
    process.kill()


async def test_who_has_gone_is_not_asked_for() -> None:
    triton: Any = Counted(lambda _: None)
    outcomes: dict[bytes, Outputs | AimassError] = {}
    admission = Admission(Settings(database_url=SecretStr("")).limits)
    calls = calls_to(triton, admission, outcomes)
    first, gone, other = [waiting(number) for number in range(3)]
    for one in (first, gone, other):
        calls.add(one)
        calls.start(one.deployment.name)
    ids = {one.requests.ids[0] for one in (first, gone)}
    calls.withdraw("default", "another", ids)
    assert admission.all == 3
    calls.withdraw("default", "m", ids)
    assert {key: type(found) for key, found in outcomes.items()} == {gone.requests.ids[0]: Withdrawn}
    triton.gate.set()
    await calls.drain(5)
    assert triton.rows == [1, 1]
    assert admission.all == 0


async def test_who_waited_too_long_is_not_asked_for() -> None:
    triton: Any = Counted(lambda _: None)
    outcomes = await answered(triton, 10, seconds=0.02)
    assert triton.rows == [1]
    assert [isinstance(found, DeadlineExceeded) for found in outcomes] == [False] + [True] * 9
