"""Headers met before: what is found without parsing is what parsing finds; an answer by template is the encoded one."""

import json
from itertools import pairwise
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference import layouts, merging, replies
from services.inference.domain import Deployment
from services.inference.layouts import Layouts
from shared import frames, oip
from shared.errors import InvalidInput, TooLarge
from shared.events.common import Signature, TensorSpec
from shared.tensors import Tensor, from_numpy, to_numpy

NAMES = st.text('abc"é', min_size=1, max_size=5)
SHAPES = st.lists(st.integers(0, 3), max_size=3)
TENSORS = st.lists(
    st.tuples(NAMES, st.sampled_from(["FP32", "INT8", "BOOL", "BYTES"]), SHAPES),
    min_size=1,
    max_size=3,
    unique_by=lambda tensor: tensor[0],
)


def tensors_of(described: list[tuple[str, str, list[int]]], fill: int) -> tuple[Tensor, ...]:
    found = []
    for name, datatype, shape in described:
        array = np.full(shape, b"xy" * fill if datatype == "BYTES" else fill, object if datatype == "BYTES" else None)
        found.append(from_numpy(name, array, datatype))
    return tuple(found)


def read(known: "Layouts[oip.InferRequest]", body: bytes, header_length: int | None) -> tuple[oip.InferRequest, bool]:
    """The request, and whether its header was known."""
    if met := known.find(body, header_length):
        return met[0]._replace(inputs=met[1]), True
    request = oip.parse_request(body, header_length)
    known.keep(body, header_length, request._replace(inputs=()), request.inputs)
    return request, False


def contents(request: oip.InferRequest) -> tuple[oip.InferRequest, list[bytes]]:
    bare = tuple(tensor._replace(data=b"") for tensor in request.inputs)
    return request._replace(inputs=bare), [bytes(tensor.data) for tensor in request.inputs]


@given(TENSORS, st.none() | st.text(max_size=5))
def test_a_second_request_with_a_header_reads_as_if_parsed(
    described: list[tuple[str, str, list[int]]], request_id: str | None
) -> None:
    known: Layouts[oip.InferRequest] = Layouts()
    for fill in (0, 1):
        body, length = oip.encode_request(oip.InferRequest(tensors_of(described, fill), id=request_id))
        found, met = read(known, body, length)
        assert contents(found) == contents(oip.parse_request(body, length))
        assert not met or fill


EVEN = TENSORS.filter(lambda described: all(datatype in ("FP32", "INT8") for _, datatype, _ in described))


@given(EVEN, st.integers(1, 3), st.integers(1, 4))
def test_requests_with_a_header_in_common_are_read_as_one(
    described: list[tuple[str, str, list[int]]], rows: int, count: int
) -> None:
    known: Layouts[oip.InferRequest] = Layouts()
    shaped = [(name, datatype, [rows, *shape]) for name, datatype, shape in described]
    bodies = [oip.encode_request(oip.InferRequest(tensors_of(shaped, fill))) for fill in range(count)]
    header = bodies[0].body[: bodies[0].header_length]
    data = [body.body[len(header) :] for body in bodies]
    assert known.find_alike(header, len(data[0]), b"".join(data), count) is None
    alone = [read(known, body.body, body.header_length)[0] for body in bodies]
    met = known.find_alike(header, len(data[0]), b"".join(data), count)
    assert met is not None
    joined = merging.join(alone).inputs
    assert [(*tensor[:3], bytes(tensor.data)) for tensor in met[1]] == [
        (*tensor[:3], bytes(tensor.data)) for tensor in joined
    ]
    assert known.find_alike(header, len(data[0]) + 1, b"".join(data), count) is None


@given(TENSORS, st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_answers_that_several_share_are_those_to_each(
    described: list[tuple[str, str, list[int]]], rows: int, count: int, binary: bool
) -> None:
    shaped = [(name, datatype, [rows, *shape]) for name, datatype, shape in described]
    parts = [tensors_of(shaped, fill) for fill in range(count)]
    ids = [UUID(int=number).bytes for number in range(count)]
    together = frames.Asked(tuple(ids), (0,) * count, ("",) * count, b"", 0, b"")
    asked = oip.InferRequest((), binary_default=binary)
    outputs = merging.join([oip.InferRequest(part) for part in parts]).inputs
    is_shared = replies.is_shared(asked, outputs)
    assert is_shared == (binary and all(tensor.datatype != "BYTES" for tensor in outputs))
    if not is_shared:
        return
    found = replies.answer(together, asked, DEPLOYMENT, outputs).replies()
    alone = [answered(one, asked, part) for one, part in zip(together.each(), parts, strict=True)]
    assert [reply._replace(body=bytes(reply.body)) for reply in found] == [
        reply._replace(body=bytes(reply.body)) for reply in alone
    ]


@given(st.integers(1, 8), st.binary(max_size=20))
def test_another_number_of_bytes_is_parsed_and_refused(rows: int, more: bytes) -> None:
    known: Layouts[oip.InferRequest] = Layouts()
    body, length = oip.encode_request(oip.InferRequest(tensors_of([("x", "FP32", [rows])], 1)))
    read(known, body, length)
    assert read(known, body, length)[1]
    for changed in (body + more, body[: -1 - len(more)]):
        if changed != body:
            with pytest.raises(InvalidInput):
                read(known, changed, length)


def test_what_is_known_does_not_grow() -> None:
    known: Layouts[oip.InferRequest] = Layouts()
    for number in range(layouts.KEPT * 2 + 1):
        body, length = oip.encode_request(oip.InferRequest(tensors_of([(f"x{number}", "FP32", [1])], 1)))
        read(known, body, length)
        assert len(known._known) <= layouts.KEPT


REQUEST = frames.asked(frames.Request(UUID(int=7).bytes, 0, b""))
BATCHED = Signature(outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 2)),))
DEPLOYMENT = Deployment("default", "model", 3, "", BATCHED, "serving", ("no", "yes"))


def answered(requests: frames.Asked, asked: oip.InferRequest, outputs: tuple[Tensor, ...]) -> frames.Reply:
    group = replies.answer(requests, asked, DEPLOYMENT, outputs)
    (reply,) = group.replies()
    assert group.body_length == len(reply.body)
    return reply


@given(TENSORS, st.none() | st.text(max_size=5) | st.just(str(replies.MARK)[:8]), st.booleans(), st.booleans())
def test_an_answer_by_template_is_the_encoded_one(
    described: list[tuple[str, str, list[int]]], request_id: str | None, default: bool, named: bool
) -> None:
    for fill in (1, 2):
        outputs = tensors_of(described, fill)
        wanted = tuple(oip.RequestedOutput(tensor.name, True) for tensor in outputs) if named else ()
        asked = oip.InferRequest((), wanted, request_id, default)
        plain = oip.InferReply("model", "3", outputs, parameters={"prediction_id": str(UUID(int=7))})
        reply = answered(REQUEST, asked, outputs)
        assert (reply.body, reply.header_length) == oip.encode_reply(plain, asked)


@pytest.mark.parametrize("binary", [True, False, None])
@pytest.mark.parametrize("default", [True, False])
def test_classes_are_told_as_json_or_binary(binary: bool | None, default: bool) -> None:
    scores = from_numpy("y", np.array([[0.25, 0.75], [1, 0]], np.float32))
    asked = oip.InferRequest((), (oip.RequestedOutput("y", binary, 1), oip.RequestedOutput("z")), None, default)
    reply = answered(REQUEST, asked, (scores, scores._replace(name="z")))
    classes, plain = oip.decode_reply(reply.body, reply.header_length).outputs
    assert (classes.datatype, classes.shape, plain) == ("BYTES", (2, 1), scores._replace(name="z"))
    assert to_numpy(classes).tolist() == [[b"0.750000:1:yes"], [b"1.000000:0:no"]]
    described = json.loads(bytes(reply.body[: reply.header_length]))["outputs"][0]
    assert ("data" in described) == (not (default if binary is None else binary))


def test_an_answer_that_no_message_takes_is_refused_to_an_evaluation_alone() -> None:
    outputs = (from_numpy("y", np.zeros(frames.MAX_FRAME_BYTES // 4, np.float32)),)
    asked = oip.InferRequest((), binary_default=True)
    with pytest.raises(TooLarge):
        answered(REQUEST._replace(flags=frames.EVALUATION), asked, outputs)
    assert len(answered(REQUEST, asked, outputs).body) > frames.MAX_FRAME_BYTES


@given(st.lists(st.integers(0, frames.MAX_FRAME_BYTES // 3), max_size=12))
def test_shared_frames_hold_all_in_order_and_fit(sizes: list[int]) -> None:
    requests = [frames.Request(UUID(int=number).bytes, 0, bytes(size)) for number, size in enumerate(sizes)]
    found = list(frames.grouped(requests, lambda request: len(request.body)))
    assert [request for taken in found for request in taken] == requests
    for taken in found:
        frames.encode_requests(taken)
    for before, after in pairwise(found):
        both = sum(len(request.body) + frames.MAX_RECORD_BYTES for request in (*before, after[0]))
        assert both > frames.MAX_FRAME_BYTES or len(before) == frames.MAX_ITEMS


def test_refusals_are_flat() -> None:
    (reply,) = replies.refusal(REQUEST.ids, InvalidInput("no")).replies()
    assert (reply.status, json.loads(bytes(reply.body))) == (400, {"error": "no"})
