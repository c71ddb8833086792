"""Reading a stream message by message with direct gets: no consumer to lose, so it survives a broker's restart."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import StreamInfo

from shared import observe
from shared.bus import Bus
from shared.errors import Unavailable

READ_SECONDS = 2.0
POLL_SECONDS = 0.25
ENDS = ("404", "204")  # nothing more there, and nothing more of a batch
BATCH_BYTES = 8 * 1024 * 1024
_FAILURES = (nats.errors.Error, nats.js.errors.Error, TimeoutError)


class Stored(NamedTuple):
    """A message of a stream."""

    sequence: int
    subject: str
    headers: dict[str, str]
    data: bytes

    @property
    def at(self) -> datetime:
        """When it was stored, rounded as consumers are told it."""
        whole, _, rest = self.headers["Nats-Time-Stamp"].rstrip("Z").partition(".")
        seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
        return datetime.fromtimestamp((seconds * 10**9 + int(f"{rest:<09}"[:9])) / 1e9, UTC)


class StreamReader:
    """Reads one stream; every failure of the bus is Unavailable."""

    def __init__(self, bus: Bus, stream: str) -> None:
        self._bus = bus
        self._stream = stream
        self._direct_get = f"$JS.API.DIRECT.GET.{stream}"

    async def info(self, subjects: str | None = None) -> StreamInfo:
        """How the stream is; with a filter also how many messages there are of each subject."""
        self._check_bus()
        try:
            return await self._bus.js.stream_info(self._stream, subjects_filter=subjects)
        except _FAILURES as error:
            raise self._unreadable(error) from error

    async def next(self, subject: str, *, sequence: int | None = None, since: datetime | None = None) -> Stored | None:
        """The first message of the subject from a sequence, or from a moment, on."""
        start: dict[str, Any] = {"seq": sequence} if since is None else {"start_time": _rfc3339(since)}
        return _stored(await self._get(start | {"next_by_subj": subject}), self._stream)

    async def batch(self, subject: str, sequence: int, most: int) -> list[Stored]:
        """What is stored from a sequence on, at most so many, by one question."""
        self._check_bus()
        connection, found = self._bus.connection, list[Stored]()
        inbox = connection.new_inbox()
        answers = await connection.subscribe(inbox)
        asked = {"seq": sequence, "next_by_subj": subject, "batch": most, "max_bytes": BATCH_BYTES}
        try:
            await connection.publish(self._direct_get, json.dumps(asked).encode(), reply=inbox)
            while (stored := _stored(await answers.next_msg(READ_SECONDS), self._stream)) is not None:
                found.append(stored)
        except _FAILURES as error:
            raise self._unreadable(error) from error
        finally:
            await answers.unsubscribe()
        return found

    async def read(self, subject: str, sequence: int, limit: int) -> AsyncGenerator[Stored, None]:
        """What is stored from a sequence on, at most so many."""
        while limit > 0 and (stored := await self.next(subject, sequence=sequence)):
            yield stored
            sequence, limit = stored.sequence + 1, limit - 1

    async def follow(
        self, subject: str, *, sequence: int | None = None, since: datetime | None = None
    ) -> AsyncGenerator[Stored | None, None]:
        """What is stored from there on and then what comes; None whenever there is nothing more yet."""
        while True:
            stored = await self._next_or_wait(subject, sequence, since)
            yield stored
            if stored is None:
                await asyncio.sleep(POLL_SECONDS)
            else:
                sequence, since = stored.sequence + 1, None

    async def _next_or_wait(self, subject: str, sequence: int | None, since: datetime | None) -> Stored | None:
        try:
            return await self.next(subject, sequence=sequence, since=since)
        except Unavailable as error:
            observe.log().debug("reading waits for the bus", stream=self._stream, error=error.message)
            return None

    async def _get(self, query: dict[str, Any]) -> Msg:
        self._check_bus()
        try:
            body = json.dumps(query).encode()
            return await self._bus.connection.request(self._direct_get, body, timeout=READ_SECONDS)
        except _FAILURES as error:
            raise self._unreadable(error) from error

    def _check_bus(self) -> None:
        if not self._bus.is_connected():
            raise Unavailable("the bus is not reachable now; try again")

    def _unreadable(self, error: BaseException) -> Unavailable:
        observe.log().warning("stream not readable", stream=self._stream, error=repr(error))
        return Unavailable(f"the stream {self._stream} cannot be read now; try again")


def _stored(message: Msg, stream: str) -> Stored | None:
    """A message of the answer; None for its end."""
    headers = dict(message.headers or {})
    if (status := headers.get("Status")) in ENDS:
        return None
    if status:
        raise Unavailable(f"the stream {stream} answered with status {status}")
    return Stored(int(headers["Nats-Sequence"]), headers["Nats-Subject"], headers, message.data)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
