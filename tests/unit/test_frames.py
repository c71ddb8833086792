"""Frames of the data plane: they survive the round trip, and hostile ones are refused."""

from itertools import groupby, pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import frames
from shared.errors import InvalidInput, TooLarge

IDS = st.binary(min_size=16, max_size=16)
BODIES = st.binary(max_size=300)
SHORT = st.text(max_size=60)
HEADERS = st.none() | st.integers(0, 2**32 - 2)

REQUESTS = st.lists(
    st.builds(
        frames.Request,
        prediction_id=IDS,
        deadline=st.integers(0, 2**64 - 1),
        body=BODIES,
        header_length=HEADERS,
        flags=st.integers(0, 255),
        traceparent=SHORT,
        credential=SHORT,
        version=SHORT,
    ),
    max_size=5,
)
REPLIES = st.lists(
    st.builds(
        frames.Reply,
        prediction_id=IDS,
        status=st.integers(0, 2**16 - 1),
        body=BODIES,
        version=SHORT,
        header_length=HEADERS,
        retry_after=st.none() | st.integers(0, 2**16 - 2),
        is_claimed=st.booleans(),
    ),
    max_size=5,
)
EXAMPLE = frames.Request(b"\x01" * 16, 1_700_000_000_000, b"body", 4, frames.EVALUATION, "00-aa-bb-01", "key", "2")


@given(REQUESTS)
def test_requests_survive_the_round_trip(requests: list[frames.Request]) -> None:
    assert frames.decode_requests(frames.encode_requests(requests)) == requests


@given(REPLIES)
def test_replies_survive_the_round_trip(replies: list[frames.Reply]) -> None:
    assert frames.decode_replies(frames.encode_replies(replies)) == replies


ALIKE = st.lists(st.tuples(st.integers(0, 1), IDS, BODIES.map(lambda body: body[:4])), max_size=8)


def like(kind: int, number: bytes, data: bytes) -> frames.Request:
    """Requests of one kind and as much data are alike."""
    trace = f"00-{number.hex()}-{'1' * 16}-00"
    return frames.Request(number, number[0], b"header" + data, 6, kind, trace, "key", str(kind))


@given(ALIKE)
def test_neighbours_that_are_alike_share_what_they_have_in_common(asked: list[tuple[int, bytes, bytes]]) -> None:
    requests = [like(*one) for one in asked]
    frame = frames.encode_requests(requests)
    groups = frames.decode_asked(frame)
    assert frames.decode_requests(frame) == requests
    kinds = [(group.flags, group.size - 6 * (not group.start)) for group in groups]
    assert all(one != other for one, other in pairwise(kinds))
    assert [len(group.ids) for group in groups] == [len(list(same)) for _, same in groupby(requests, _alike)]


def _alike(request: frames.Request) -> tuple[int, int]:
    return request.flags, len(request.body)


@pytest.mark.parametrize(
    "other",
    [{"flags": frames.CLAIMED, "body": b""}, {"traceparent": "00-aa-bb-01"}, {"header_length": None}]
    + [{"body": bytes(frames.LARGEST_ALIKE + 1)}],
    ids=["claimed", "recorded", "json", "large"],
)
def test_what_must_be_looked_at_by_itself_is_like_no_other(other: dict[str, Any]) -> None:
    requests = [like(0, bytes(16), b"data")._replace(**other)] * 3
    assert len(frames.decode_asked(frames.encode_requests(requests))) == 3


@given(ALIKE.filter(bool), st.data())
def test_some_of_a_group_are_those(asked: list[tuple[int, bytes, bytes]], data: st.DataObject) -> None:
    requests = [like(0, number, b"data") for _, number, _ in asked]
    (group,) = frames.decode_asked(frames.encode_requests(requests))
    first = data.draw(st.integers(0, len(requests) - 1))
    some = group.some(range(first, data.draw(st.integers(first + 1, len(requests)))))
    wanted = requests[first : first + len(some.ids)]
    assert [bytes(one.body) for one in some.each()] == [request.body for request in wanted]
    assert (list(some.ids), list(some.traces)) == (
        [request.prediction_id for request in wanted],
        [request.traceparent for request in wanted],
    )


@given(st.lists(IDS, min_size=1, max_size=5), st.integers(0, 9), st.booleans())
def test_replies_that_are_alike_are_read_as_each_by_itself(ids: list[bytes], size: int, numbered: bool) -> None:
    data = bytes(range(size * len(ids)))
    around = (b"before", b"after") if numbered else ()
    group = frames.Answered(tuple(ids), 200, size, data, "3", 7, None, False, *around)
    replies = frames.decode_replies(frames.encode_answers([group]))
    assert replies == group.replies()
    for place, (one, reply) in enumerate(zip(ids, replies, strict=True)):
        end = data[place * size : (place + 1) * size]
        text = b"before" + str(UUID(bytes=one)).encode() + b"after"
        assert reply == frames.Reply(one, 200, text + end if numbered else end, "3", 7)
        assert group.body_length == len(reply.body)


@given(st.binary(max_size=200), REQUESTS, st.data())
def test_junk_raises_nothing_but_invalid_input(
    junk: bytes, requests: list[frames.Request], data: st.DataObject
) -> None:
    frame = bytearray(frames.encode_requests(requests))
    for _ in range(data.draw(st.integers(0, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    for hostile in (junk, bytes(frame) + junk, bytes(frame)):
        for decode in (frames.decode_requests, frames.decode_replies):
            try:
                decode(hostile)
            except InvalidInput:
                continue


@given(st.integers(0, 200))
def test_a_frame_cut_short_is_refused(kept: int) -> None:
    frame = frames.encode_requests([EXAMPLE, EXAMPLE])
    with pytest.raises(InvalidInput):
        frames.decode_requests(frame[: min(kept, len(frame) - 1)])


def test_bodies_are_views_into_the_frame() -> None:
    frame = frames.encode_requests([EXAMPLE])
    (request,) = frames.decode_requests(frame)
    assert isinstance(request.body, memoryview)
    assert request.body.obj is frame


@pytest.mark.parametrize("wrong", [b"XXX\x03\x01", b"AMF\x02\x01", b"AMF\x03\x02"])
def test_another_magic_version_or_kind_is_refused(wrong: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a frame of version 3"):
        frames.decode_requests(wrong + frames.encode_requests([EXAMPLE])[5:])


def test_bytes_after_the_last_item_are_refused() -> None:
    with pytest.raises(InvalidInput, match="items end at byte"):
        frames.decode_requests(frames.encode_requests([EXAMPLE]) + b"x")


def test_frames_above_the_cap_are_refused_both_ways() -> None:
    body = bytes(frames.MAX_FRAME_BYTES)
    with pytest.raises(TooLarge):
        frames.encode_requests([EXAMPLE._replace(body=body)])
    with pytest.raises(InvalidInput, match="at most"):
        frames.decode_requests(body + b"x")
    assert frames.MAX_FRAME_BYTES < 1024 * 1024


def test_a_string_too_long_for_its_field_is_refused() -> None:
    with pytest.raises(InvalidInput, match="255 bytes"):
        frames.encode_requests([EXAMPLE._replace(version="9" * 256)])
