"""Compressed bodies: what went in comes out, within the limit, and everything else is refused."""

import asyncio
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.open_inference.compression import (
    AT_ONCE,
    UnsupportedEncoding,
    compressed,
    decompressed,
    preferred,
)
from shared.errors import InvalidInput, TooLarge

ENCODINGS = st.sampled_from([b"gzip", b"deflate"])
LIMIT = 1000


@given(st.binary(max_size=LIMIT), ENCODINGS)
def test_a_body_comes_back(body: bytes, encoding: bytes) -> None:
    assert decompressed(asyncio.run(compressed(body, encoding)), encoding, LIMIT) == body


@pytest.mark.parametrize("size", [AT_ONCE, AT_ONCE + 1])
async def test_a_long_body_comes_back(size: int) -> None:
    assert decompressed(await compressed(bytes(size), b"gzip"), b" GZip ", size) == bytes(size)


@given(st.binary(max_size=200), ENCODINGS)
def test_junk_is_refused(body: bytes, encoding: bytes) -> None:
    with pytest.raises(InvalidInput):
        decompressed(body, encoding, LIMIT)


@given(st.binary(max_size=LIMIT), st.data(), ENCODINGS)
def test_a_stream_that_is_cut_short_or_goes_on_is_refused(body: bytes, data: st.DataObject, encoding: bytes) -> None:
    whole = asyncio.run(compressed(body, encoding))
    for broken in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + data.draw(st.binary(min_size=1))):
        with pytest.raises(InvalidInput):
            decompressed(broken, encoding, LIMIT)


def test_a_bomb_is_refused_at_the_limit() -> None:
    for bomb, encoding in ((gzip.compress(bytes(50_000_000)), b"gzip"), (zlib.compress(bytes(LIMIT + 1)), b"deflate")):
        with pytest.raises(TooLarge):
            decompressed(bomb, encoding, LIMIT)


@pytest.mark.parametrize("encoding", [b"br", b"gzip, deflate", b"\xff", b""])
def test_other_encodings_are_not_read(encoding: bytes) -> None:
    with pytest.raises(UnsupportedEncoding, match="send gzip or deflate"):
        decompressed(b"{}", encoding, LIMIT)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b"gzip, deflate, br", b"gzip"),
        (b"deflate,gzip", b"deflate"),
        (b"gzip;q=0.5, deflate; q=0.9", b"deflate"),
        (b"gzip;q=0.5, identity", b"identity"),
        (b"GZIP", b"gzip"),
        (b"gzip;q=0", b"identity"),
        (b"gzip;q=nan, deflate;q=2", b"identity"),
        (b"br, *", b"identity"),
        (b"", b"identity"),
    ],
)
def test_the_answer_is_in_what_is_liked_best(accepted: bytes, chosen: bytes) -> None:
    assert preferred(accepted) == chosen


@given(st.binary(max_size=60))
def test_no_header_is_too_strange(accepted: bytes) -> None:
    assert preferred(accepted) in (b"gzip", b"deflate", b"identity")
