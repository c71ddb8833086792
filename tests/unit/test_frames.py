"""Frames of the data plane: they survive the round trip, and hostile ones are refused."""

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


@pytest.mark.parametrize("wrong", [b"XXX\x02\x01", b"AMF\x01\x01", b"AMF\x02\x02"])
def test_another_magic_version_or_kind_is_refused(wrong: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a frame of version 2"):
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
