"""The binary frame of the data plane: several requests, or several replies, in one message of the bus.

A frame is magic, version, kind and count; then per item one fixed record, its short strings and its body.
Integers are big-endian. A decoded body is a view into the frame, not a copy.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from shared.errors import InvalidInput, TooLarge

MAX_FRAME_BYTES = 1024 * 1024 - 16 * 1024
MAX_RECORD_BYTES = 1024
MAX_ITEMS = 256
LONGEST_STRING = 255
ID_BYTES = 16
VERSION = 2
EVALUATION = 0b1
CLAIMED = 0b10
SAMPLED = frozenset("13579bdf")

Body = bytes | memoryview

_MAGIC = b"AMF"
_REQUESTS, _REPLIES = 1, 2
_PREFIX = struct.Struct(">3sBBH")
_REQUEST = struct.Struct(">16sQBIIBBB")
_REPLY = struct.Struct(">16sHIHIBB")
_NO_HEADER = 0xFFFFFFFF
_NO_RETRY = 0xFFFF
_Item = TypeVar("_Item")


class Request(NamedTuple):
    """An inference request as it came in, with what must travel along; deadline in ms since the epoch.

    With the flag CLAIMED its body lies in the object store, see shared/body_store.py.
    """

    prediction_id: bytes
    deadline: int
    body: Body
    header_length: int | None = None
    flags: int = 0
    traceparent: str = ""
    credential: str = ""
    version: str = ""


class Reply(NamedTuple):
    """The answer to one request: HTTP status, served version, body, and seconds to wait before a retry.

    A claimed body lies in the object store.
    """

    prediction_id: bytes
    status: int
    body: Body
    version: str = ""
    header_length: int | None = None
    retry_after: int | None = None
    is_claimed: bool = False


def is_sampled(request: Request) -> bool:
    """Whether its trace is recorded: the last bit says so, whatever others say beside it."""
    return request.traceparent[-1:] in SAMPLED


def request_claim(prediction_id: bytes) -> str:
    """The name of a request's body in the object store."""
    return f"{prediction_id.hex()}-request"


def reply_claim(prediction_id: bytes) -> str:
    return f"{prediction_id.hex()}-reply"


def encode_requests(requests: Sequence[Request]) -> bytes:
    return _join(_REQUESTS, len(requests), [part for request in requests for part in _request_parts(request)])


def encode_replies(replies: Sequence[Reply]) -> bytes:
    return _join(_REPLIES, len(replies), [part for reply in replies for part in _reply_parts(reply)])


def decode_requests(frame: Body) -> list[Request]:
    return _decode(frame, _REQUESTS, _read_request)


def decode_replies(frame: Body) -> list[Reply]:
    return _decode(frame, _REPLIES, _read_reply)


def encode_ids(ids: Sequence[bytes]) -> bytes:
    """Ids of predictions, and nothing else."""
    return b"".join(ids)


def decode_ids(body: bytes) -> set[bytes]:
    if len(body) % ID_BYTES:
        raise InvalidInput(f"ids have {ID_BYTES} bytes each, found {len(body)} bytes")
    return {body[start : start + ID_BYTES] for start in range(0, len(body), ID_BYTES)}


def grouped(items: Sequence[_Item], body: Callable[[_Item], Body]) -> Iterator[list[_Item]]:
    """The items in order, as many to a frame as it has room for."""
    taken: list[_Item] = []
    size = 0
    for item in items:
        needed = len(body(item)) + MAX_RECORD_BYTES
        if taken and (size + needed > MAX_FRAME_BYTES or len(taken) >= MAX_ITEMS):
            yield taken
            taken, size = [], 0
        taken.append(item)
        size += needed
    if taken:
        yield taken


def _request_parts(request: Request) -> tuple[Body, ...]:
    prediction_id, deadline, body, header_length, flags, *strings = request
    text = "".join(strings)
    encoded, lengths = text.encode(), map(len, strings)
    if not text.isascii() or len(encoded) > LONGEST_STRING:
        lengths = map(len, map(_short, strings))
    header = _NO_HEADER if header_length is None else header_length
    return _REQUEST.pack(prediction_id, deadline, flags, header, len(body), *lengths), encoded, body


def _reply_parts(reply: Reply) -> tuple[Body, ...]:
    version = _short(reply.version)
    record = _REPLY.pack(
        reply.prediction_id,
        reply.status,
        _NO_HEADER if reply.header_length is None else reply.header_length,
        _NO_RETRY if reply.retry_after is None else min(reply.retry_after, _NO_RETRY - 1),
        len(reply.body),
        len(version),
        reply.is_claimed,
    )
    return record, version, reply.body


def _short(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > LONGEST_STRING:
        raise InvalidInput(f"{text[:20]!r}... is longer than the 255 bytes that a frame has room for")
    return encoded


def _join(kind: int, count: int, parts: list[Body]) -> bytes:
    frame = b"".join((_PREFIX.pack(_MAGIC, VERSION, kind, count), *parts))
    if len(frame) > MAX_FRAME_BYTES:
        raise TooLarge(f"the frame has {len(frame)} bytes, the bus takes {MAX_FRAME_BYTES}")
    return frame


def _decode(frame: Body, kind: int, read: Callable[[memoryview, int], tuple[_Item, int]]) -> list[_Item]:
    view = memoryview(frame)
    items: list[_Item] = []
    try:
        offset = _PREFIX.size
        for _ in range(_count(view, kind)):
            item, offset = read(view, offset)
            items.append(item)
    except (struct.error, UnicodeDecodeError) as error:
        raise InvalidInput("the frame is cut short or garbled") from error
    if offset != len(view):
        raise InvalidInput(f"the frame's items end at byte {offset} of {len(view)}")
    return items


def _count(view: memoryview, kind: int) -> int:
    if len(view) > MAX_FRAME_BYTES:
        raise InvalidInput(f"the frame has {len(view)} bytes, at most {MAX_FRAME_BYTES} are read")
    magic, version, found, count = _PREFIX.unpack_from(view)
    if (magic, version, found) != (_MAGIC, VERSION, kind):
        raise InvalidInput(f"not a frame of version {VERSION} and kind {kind}: it starts with {bytes(view[:5])!r}")
    return int(count)


def _read_request(view: memoryview, offset: int) -> tuple[Request, int]:
    prediction_id, deadline, flags, header, size, trace, credential, version = _REQUEST.unpack_from(view, offset)
    at = offset + _REQUEST.size
    body_at = at + trace + credential + version
    end = body_at + size
    strings = _strings(view[at:body_at], trace, trace + credential)
    return Request(
        prediction_id, deadline, view[body_at:end], None if header == _NO_HEADER else header, flags, *strings
    ), end


def _strings(view: memoryview, first: int, second: int) -> tuple[str, str, str]:
    """Three that lie behind each other; each is read by itself where a letter takes more than a byte."""
    text = str(view, "utf-8")
    if len(text) == len(view):
        return text[:first], text[first:second], text[second:]
    return str(view[:first], "utf-8"), str(view[first:second], "utf-8"), str(view[second:], "utf-8")


def _read_reply(view: memoryview, offset: int) -> tuple[Reply, int]:
    prediction_id, status, header, retry_after, size, length, claimed = _REPLY.unpack_from(view, offset)
    version_at = offset + _REPLY.size
    body_at = version_at + length
    end = body_at + size
    reply = Reply(
        prediction_id,
        status,
        view[body_at:end],
        str(view[version_at:body_at], "utf-8"),
        None if header == _NO_HEADER else header,
        None if retry_after == _NO_RETRY else retry_after,
        bool(claimed),
    )
    return reply, end
