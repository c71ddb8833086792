"""The binary frame of the data plane: several requests, or several replies, in one message of the bus.

A frame is magic, version, kind and count; then per group of requests, or replies, that are alike one fixed record, what
they share, the ids of each, and their bodies behind each other. Integers are big-endian. What is decoded of a body is a
view into the frame, not a copy.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple, TypeVar

from shared.body_pool import Place
from shared.errors import InvalidInput, TooLarge
from shared.names import uuid_text

MAX_FRAME_BYTES = 1024 * 1024 - 16 * 1024
MAX_RECORD_BYTES = 1024
MAX_ITEMS = 256
LONGEST_STRING = 255
LARGEST_ALIKE = 64 * 1024
ID_BYTES, TEXT_BYTES = 16, 36
VERSION = 3
EVALUATION = 0b1
CLAIMED = 0b10
POOLED = 0b100
SAMPLED = frozenset("13579bdf")

Body = bytes | memoryview

_MAGIC = b"AMF"
_REQUESTS, _REPLIES = 1, 2
_PREFIX = struct.Struct(">3sBBH")
_ASKED = struct.Struct(">BHIIIBBB")
_ANSWERED = struct.Struct(">HHIIHBBHH")
_NO_HEADER = 0xFFFFFFFF
_NO_RETRY = 0xFFFF
_IS_CLAIMED, _IS_NUMBERED = 0b1, 0b10
_Item = TypeVar("_Item")


class Request(NamedTuple):
    """An inference request as it came in, with what must travel along; deadline in ms since the epoch.

    With the flag CLAIMED its body lies in the object store, see shared/body_store.py; with POOLED it says where in
    memory it lies, see shared/body_pool.py.
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


class Asked(NamedTuple):
    """Requests that are alike but for id, deadline, trace and what follows the `start` of their bodies.

    `data` has `size` bytes of each. Where it was found at a `place`, it is to be trusted as long as that is held.
    """

    ids: tuple[bytes, ...]
    deadlines: tuple[int, ...]
    traces: tuple[str, ...]
    start: bytes
    size: int
    data: Body
    header_length: int | None = None
    flags: int = 0
    credential: str = ""
    version: str = ""
    place: Place | None = None

    @property
    def body(self) -> Body:
        """That of the first."""
        data = self.data[: self.size]
        return b"".join((self.start, data)) if self.start else data

    def traces_of(self, ids: tuple[bytes, ...]) -> tuple[str, ...]:
        """Those of some of these requests, or of all."""
        return self.traces if ids is self.ids else tuple(self.traces[self.ids.index(one)] for one in ids)

    def some(self, places: range) -> "Asked":
        """Those at these places, which follow each other."""
        begin, end = places.start, places.stop
        return self._replace(
            ids=self.ids[begin:end],
            deadlines=self.deadlines[begin:end],
            traces=self.traces[begin:end],
            data=self.data[begin * self.size : end * self.size],
        )

    def each(self) -> "list[Asked]":
        return [self] if len(self.ids) == 1 else [self.some(range(place, place + 1)) for place in range(len(self.ids))]


class Answered(NamedTuple):
    """Replies that are alike but for the id and the end of the body, of which `data` has `size` bytes of each.

    Where there is a `before`, a body begins with that, the id as text and `after`.
    """

    ids: tuple[bytes, ...]
    status: int
    size: int
    data: Body
    version: str = ""
    header_length: int | None = None
    retry_after: int | None = None
    is_claimed: bool = False
    before: bytes = b""
    after: bytes = b""

    def replies(self) -> list[Reply]:
        size, data = self.size, self.data
        bodies: Iterator[Body] = (data[place * size : (place + 1) * size] for place in range(len(self.ids)))
        if self.before:
            bodies = map(self._numbered, self.ids, bodies)
        return [Reply(one, self.status, body, *self[4:8]) for one, body in zip(self.ids, bodies, strict=True)]

    def _numbered(self, prediction_id: bytes, body: Body) -> bytes:
        return b"".join((self.before, uuid_text(prediction_id).encode(), self.after, body))

    @property
    def body_length(self) -> int:
        numbered = len(self.before) + TEXT_BYTES + len(self.after) if self.before else 0
        return numbered + self.size

    @property
    def length(self) -> int:
        """The bytes that they take in a frame, but for the record and strings."""
        return len(self.data) + len(self.before) + len(self.after) + len(self.ids) * ID_BYTES


def is_sampled(traceparent: str) -> bool:
    """Whether a trace is recorded: the last bit says so, whatever others say beside it."""
    return traceparent[-1:] in SAMPLED


def request_claim(prediction_id: bytes) -> str:
    """The name of a request's body in the object store."""
    return f"{prediction_id.hex()}-request"


def reply_claim(prediction_id: bytes) -> str:
    return f"{prediction_id.hex()}-reply"


def asked(request: Request) -> Asked:
    """A request by itself."""
    prediction_id, deadline, body, header_length, flags, trace, credential, version = request
    return Asked(
        (prediction_id,), (deadline,), (trace,), b"", len(body), body, header_length, flags, credential, version
    )


def answered(reply: Reply) -> Answered:
    """A reply by itself."""
    return Answered((reply.prediction_id,), reply.status, len(reply.body), reply.body, *reply[3:])


def encode_requests(requests: Sequence[Request]) -> bytes:
    """Neighbours that are alike share what they have in common."""
    groups = [requests] if len(requests) == 1 else [list(group) for _, group in groupby(requests, _kind)]
    return _join(_REQUESTS, len(groups), [part for group in groups for part in _asked_parts(group)])


def encode_replies(replies: Sequence[Reply]) -> bytes:
    return encode_answers([answered(reply) for reply in replies])


def encode_answers(groups: Sequence[Answered]) -> bytes:
    return _join(_REPLIES, len(groups), [part for group in groups for part in _answered_parts(group)])


def decode_asked(frame: Body) -> list[Asked]:
    return _decode(frame, _REQUESTS, _read_asked)


def decode_requests(frame: Body) -> list[Request]:
    """Each by itself."""
    found = [one for group in decode_asked(frame) for one in group.each()]
    return [
        Request(one.ids[0], one.deadlines[0], one.body, one.header_length, one.flags, one.traces[0], *one[8:10])
        for one in found
    ]


def decode_replies(frame: Body) -> list[Reply]:
    return [reply for group in _decode(frame, _REPLIES, _read_replies) for reply in group]


def encode_ids(ids: Sequence[bytes]) -> bytes:
    """Ids of predictions, and nothing else."""
    return b"".join(ids)


def decode_ids(body: bytes) -> set[bytes]:
    if len(body) % ID_BYTES:
        raise InvalidInput(f"ids have {ID_BYTES} bytes each, found {len(body)} bytes")
    return {body[start : start + ID_BYTES] for start in range(0, len(body), ID_BYTES)}


def grouped(items: Sequence[_Item], size: Callable[[_Item], int]) -> Iterator[list[_Item]]:
    """The items in order, as many to a frame as it has room for."""
    taken: list[_Item] = []
    sum_ = 0
    for item in items:
        needed = size(item) + MAX_RECORD_BYTES
        if taken and (sum_ + needed > MAX_FRAME_BYTES or len(taken) >= MAX_ITEMS):
            yield taken
            taken, sum_ = [], 0
        taken.append(item)
        sum_ += needed
    if taken:
        yield taken


def _kind(request: Request) -> object:
    """What requests have in common that are alike; one whose trace is recorded is like no other, nor is a large one."""
    _, _, body, header_length, flags, trace, credential, version = request
    if header_length is None or flags & (CLAIMED | POOLED) or len(body) > LARGEST_ALIKE or is_sampled(trace):
        return object()
    return header_length, flags, len(trace.encode()), credential, version, len(body), bytes(body[:header_length])


def _asked_parts(group: Sequence[Request]) -> list[Body]:
    first = group[0]
    _, _, body, header_length, flags, trace, credential, version = first
    shared = 0 if len(group) == 1 or header_length is None else min(header_length, len(body))
    strings, pack = (_short(credential), _short(version)), _item(len(_short(trace))).pack
    header = _NO_HEADER if header_length is None else header_length
    record = _ASKED.pack(flags, len(group), header, shared, len(body) - shared, len(trace.encode()), *map(len, strings))
    items = [pack(each.prediction_id, each.deadline, each.traceparent.encode()) for each in group]
    return [record, *strings, body[:shared], *items, *[each.body[shared:] for each in group]]


@lru_cache(maxsize=LONGEST_STRING + 1)
def _item(trace: int) -> struct.Struct:
    """The id, deadline and trace of a request whose trace has so many bytes."""
    return struct.Struct(f">16sQ{trace}s")


def _answered_parts(group: Answered) -> tuple[Body, ...]:
    version = _short(group.version)
    record = _ANSWERED.pack(
        group.status,
        len(group.ids),
        _NO_HEADER if group.header_length is None else group.header_length,
        group.size,
        _NO_RETRY if group.retry_after is None else min(group.retry_after, _NO_RETRY - 1),
        len(version),
        _IS_CLAIMED * group.is_claimed | _IS_NUMBERED * bool(group.before),
        len(group.before),
        len(group.after),
    )
    return record, version, group.before, group.after, *group.ids, group.data


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


def _read_asked(view: memoryview, offset: int) -> tuple[Asked, int]:
    flags, count, header, shared, size, trace, credential, version = _ASKED.unpack_from(view, offset)
    at = offset + _ASKED.size
    version_at = at + credential
    start_at = version_at + version
    items_at = start_at + shared
    item = _item(trace)
    data_at = items_at + count * item.size
    end = _checked(data_at + count * size, view, count)
    ids, deadlines, traces = zip(*item.iter_unpack(view[items_at:data_at]), strict=True)
    found = Asked(
        ids,
        deadlines,
        tuple([str(each, "utf-8") for each in traces]),
        bytes(view[start_at:items_at]),
        size,
        view[data_at:end],
        None if header == _NO_HEADER else header,
        flags,
        str(view[at:version_at], "utf-8"),
        str(view[version_at:start_at], "utf-8"),
    )
    return found, end


def _read_replies(view: memoryview, offset: int) -> tuple[list[Reply], int]:
    status, count, header, size, retry_after, length, flags, before, after = _ANSWERED.unpack_from(view, offset)
    at = offset + _ANSWERED.size
    before_at = at + length
    after_at = before_at + before
    ids_at = after_at + after
    data_at = ids_at + count * ID_BYTES
    end = _checked(data_at + count * size, view, count)
    version, is_claimed = str(view[at:before_at], "utf-8"), bool(flags & _IS_CLAIMED)
    facts = (version, None if header == _NO_HEADER else header, None if retry_after == _NO_RETRY else retry_after)
    first, last, replies = bytes(view[before_at:after_at]), bytes(view[after_at:ids_at]), []
    for place in range(count):
        prediction_id = bytes(view[ids_at + place * ID_BYTES : ids_at + (place + 1) * ID_BYTES])
        body: Body = view[data_at + place * size : data_at + (place + 1) * size]
        if flags & _IS_NUMBERED:
            body = b"".join((first, uuid_text(prediction_id).encode(), last, body))
        replies.append(Reply(prediction_id, status, body, *facts, is_claimed))
    return replies, end


def _checked(end: int, view: memoryview, count: int) -> int:
    if end > len(view) or not count:
        raise InvalidInput("the frame is cut short or garbled")
    return end
