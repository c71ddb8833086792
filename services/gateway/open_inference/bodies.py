"""Bodies of predictions: small ones in memory, large ones straight into the object store, see shared/body_store.py."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, Final, NamedTuple

from services.gateway import metrics
from services.gateway.bodies import check_size, never, part, read_body, replayed
from services.gateway.open_inference.compression import decompressed
from services.gateway.open_inference.protocol import Call
from services.gateway.pouring import read_into
from shared import frames, observe, oip
from shared.body_pool import BodyPool, Lease
from shared.body_store import BUS_BYTES, LOCAL_BYTES, BodyStore
from shared.errors import AimassError, InvalidInput, TooLarge

HEADER_LENGTH: Final = oip.HEADER_LENGTH.lower().encode()
CONTENT_ENCODING: Final = b"content-encoding"
CONTENT_LENGTH: Final = b"content-length"
JSON_BYTES: Final = 16 * 1024 * 1024
WHOLE_BYTES: Final = 4 * 1024 * 1024
UNPACKED_BYTES: Final = 64 * 1024 * 1024
SWEEP_SECONDS: Final = 600.0
SWEEP_AGE_SECONDS: Final = 3600.0
UNSHARED_SECONDS: Final = 60.0


class Body(NamedTuple):
    """A body, or its beginning where it lies in the store or a pool; and the length of its JSON header, None without.

    In a pool it has `size` bytes, from the beginning of its lease.
    """

    data: bytes
    header_length: int | None
    is_claimed: bool = False
    lease: Lease | None = None
    size: int = 0

    def sent(self) -> tuple[bytes, int]:
        """What is sent of it, and the flag that says what that is."""
        if self.lease is not None:
            return self.lease.place(self.size).encode(), frames.POOLED
        return (b"", frames.CLAIMED) if self.is_claimed else (self.data, 0)

    def timeout(self) -> float | None:
        """The seconds of the parameter `timeout`, where the header is at hand that may hold it."""
        if self.is_claimed and (self.header_length is None or self.header_length > len(self.data)):
            return None
        return oip.timeout_of(self.data, self.header_length)


class InferenceBodies:
    """Takes bodies of requests in and gets bodies of replies, and drops from the store what nobody needs any more."""

    def __init__(self, store: BodyStore, limit: int, pool: BodyPool | None = None) -> None:
        self._store, self._limit, self._pool = store, limit, pool
        self._pooled_from = 0.0
        if pool is not None:
            metrics.POOL_BYTES.set_function(lambda: pool.used)
        self._dropping: set[asyncio.Task[None]] = set()

    async def take(self, call: Call) -> Body:
        """The body of a call; raises TooLarge as soon as it passes the limit."""
        if (encoding := call.headers.get(CONTENT_ENCODING)) is not None:
            packed = await read_body(call.receive, call.headers, min(self._limit, UNPACKED_BYTES))
            data = decompressed(packed, encoding, min(self._limit, UNPACKED_BYTES))
            return await self._take_whole(call, data, header_length_of(call.headers))
        size = int(call.headers.get(CONTENT_LENGTH, b"0"))
        check_size(size, self._limit)
        if size > LOCAL_BYTES and (lease := self._lease(size, header_length := header_length_of(call.headers))):
            return await _taken(call, lease, header_length)
        message = await call.receive()
        if message.get("more_body"):
            return await self._take_long(call, part(message), header_length_of(call.headers))
        return await self._take_whole(call, part(message), header_length_of(call.headers))

    async def _take_whole(self, call: Call, data: bytes, header_length: int | None) -> Body:
        body = self.whole(call, data, header_length)
        if lease := self._lease(len(data), header_length):
            return await _taken(call, lease, header_length, data)
        if len(data) <= self._most_in_memory(header_length):
            return body
        await self._store.keep(frames.request_claim(call.prediction_id), data)
        return Body(data, header_length, is_claimed=True)

    def whole(self, call: Call, data: bytes, header_length: int | None) -> Body:
        """A body that is here; raises TooLarge, or InvalidInput for a header that is longer."""
        self._check(len(data), header_length)
        _check_header(header_length, len(data))
        call.input_bytes = len(data)
        return Body(data, header_length)

    async def _take_long(self, call: Call, start: bytes, header_length: int | None) -> Body:
        """Read on in memory, and beyond a size straight into the store, which costs more than keeping it as a whole."""
        chunks, size, more = [start], len(start), True
        while more and size <= WHOLE_BYTES:
            message = await call.receive()
            chunks.append(part(message))
            size += len(chunks[-1])
            more = message.get("more_body", False)
        data = b"".join(chunks)
        if not more:
            return await self._take_whole(call, data, header_length)
        await self._store.keep(frames.request_claim(call.prediction_id), self._pass_on(call, data, header_length))
        return Body(data, header_length, is_claimed=True)

    async def _pass_on(self, call: Call, start: bytes, header_length: int | None) -> AsyncIterator[bytes]:
        yield start
        size, more = len(start), True
        while more:
            message = await call.receive()
            chunk = part(message)
            size += len(chunk)
            self._check(size, header_length)
            more = message.get("more_body", False)
            yield chunk
        _check_header(header_length, size)
        call.input_bytes = size

    def _lease(self, size: int, header_length: int | None) -> Lease | None:
        """Room for a body that is large, and need not be at hand to be understood."""
        if self._pool is None or header_length is None or size <= LOCAL_BYTES or time.monotonic() < self._pooled_from:
            return None
        return self._pool.lease(size)

    async def move(self, call: Call, body: Body) -> Body:
        """The same body in the store, since who has to read it does not share our memory: nor will it for a while."""
        self._pooled_from = time.monotonic() + UNSHARED_SECONDS
        assert body.lease is not None
        await self._store.keep(frames.request_claim(call.prediction_id), bytes(body.lease.view[: body.size]))
        return Body(body.data, body.header_length, is_claimed=True)

    def release(self, call: Call, body: Body) -> None:
        """The request is answered, or never will be."""
        if body.lease is not None:
            body.lease.release()
        if body.is_claimed:
            self.forget(call)

    def _most_in_memory(self, header_length: int | None) -> int:
        """JSON goes over the bus as long as it can, since all of it must be at hand to be understood."""
        return BUS_BYTES if header_length is None else self._store.threshold

    def _check(self, size: int, header_length: int | None) -> None:
        check_size(size, self._limit)
        if header_length is None and size > JSON_BYTES:
            raise TooLarge(f"a body of JSON alone may have {JSON_BYTES} bytes: send tensors as binary data")

    async def fetch(self, reply: frames.Reply) -> frames.Reply:
        """The reply with its body, which is in the store."""
        name = frames.reply_claim(reply.prediction_id)
        body = await self._store.fetch(name)
        self._in_background(self._store.drop(name))
        return reply._replace(body=body, is_claimed=False)

    def forget_reply(self, reply: frames.Reply) -> None:
        """Nobody waits for it any more."""
        if reply.is_claimed:
            self._in_background(self._store.drop(frames.reply_claim(reply.prediction_id)))

    def forget(self, call: Call) -> None:
        """The request whose body is in the store is answered, or never will be."""
        self._in_background(self._store.drop(frames.request_claim(call.prediction_id)))

    async def close(self) -> None:
        """Nothing comes any more, and nobody reads."""
        if self._pool is not None:
            self._pool.close()

    async def sweep(self) -> None:
        """Drop, for ever, what others have left behind."""
        while True:
            try:
                if found := await self._store.sweep(SWEEP_AGE_SECONDS):
                    observe.log().info("bodies left behind were dropped", bodies=found)
            except AimassError as error:
                observe.log().warning("bodies left behind are not dropped now", error=error.message)
            await asyncio.sleep(SWEEP_SECONDS)

    def _in_background(self, dropping: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(dropping)
        self._dropping.add(task)
        task.add_done_callback(self._dropped)

    def _dropped(self, task: "asyncio.Task[None]") -> None:
        self._dropping.discard(task)
        if not task.cancelled() and (error := task.exception()):
            observe.log().warning("a body is not dropped", error=repr(error))


async def _taken(call: Call, lease: Lease, header_length: int | None, data: bytes | None = None) -> Body:
    """A body in a pool: this, or what comes."""
    try:
        size = await read_into(lease.view, call.receive if data is None else replayed(data, never))
        _check_header(header_length, size)
    except BaseException:
        lease.release()
        raise
    call.input_bytes = size
    return Body(bytes(lease.view[:header_length]), header_length, lease=lease, size=size)


def header_length_of(headers: Mapping[bytes, bytes]) -> int | None:
    """Known once a message has come: over gRPC it is not before."""
    given = headers.get(HEADER_LENGTH)
    return oip.parse_header_length(None if given is None else given.decode("latin-1"))


def _check_header(header_length: int | None, size: int) -> None:
    if header_length is not None and header_length > size:
        raise InvalidInput(f"{oip.HEADER_LENGTH} is {header_length}, the body has {size} bytes")
