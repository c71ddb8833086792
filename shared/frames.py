"""The binary frame of the data plane: several requests, or several replies, in one message of the bus.

A frame is magic, version, kind and count; then per item one fixed record, its short strings and its body.
Integers are big-endian. A decoded body is a view into the frame, not a copy.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shared.errors import InvalidInput, TooLarge

MAX_FRAME_BYTES = 1024 * 1024 - 16 * 1024
VERSION = 1
EVALUATION = 0b1

Body = bytes | memoryview

_MAGIC = b"AMF"
_REQUESTS, _REPLIES = 1, 2
_PREFIX = struct.Struct(">3sBBH")
_REQUEST = struct.Struct(">16sQBIIBBB")
_REPLY = struct.Struct(">16sHIHIB")
_NO_HEADER = 0xFFFFFFFF
_NO_RETRY = 0xFFFF


class Request(NamedTuple):
    """An inference request as it came in, with what must travel along; deadline in ms since the epoch."""

    prediction_id: bytes
    deadline: int
    body: Body
    header_length: int | None = None
    flags: int = 0
    traceparent: str = ""
    credential: str = ""
    version: str = ""


class Reply(NamedTuple):
    """The answer to one request: HTTP status, served version, body, and seconds to wait before a retry."""

    prediction_id: bytes
    status: int
    body: Body
    version: str = ""
    header_length: int | None = None
    retry_after: int | None = None


def encode_requests(requests: Sequence[Request]) -> bytes:
    return _frame(_REQUESTS, len(requests), [part for request in requests for part in _request_parts(request)])


def encode_replies(replies: Sequence[Reply]) -> bytes:
    return _frame(_REPLIES, len(replies), [part for reply in replies for part in _reply_parts(reply)])


def decode_requests(frame: Body) -> list[Request]:
    return _decode(frame, _REQUESTS, _read_request)


def decode_replies(frame: Body) -> list[Reply]:
    return _decode(frame, _REPLIES, _read_reply)
