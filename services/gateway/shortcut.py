"""Connections whose requests take the short way where they can: see open_inference/lane.py."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from services.gateway.corked import CorkedTransport
from services.gateway.guarded import GuardedProtocol
from services.gateway.headers import Header
from services.gateway.open_inference.lane import LONGEST_HEAD, Known, Lane, Passage
from services.gateway.open_inference.protocol import Answer
from services.gateway.settings import HeadLimits

HEAD_END: Final = b"\r\n\r\n"
CLOSE: Final = b"connection: close\r\n"


class Standing:
    """The lines that every answer begins with; uvicorn makes a list of them each second."""

    def __init__(self) -> None:
        self._lines: Sequence[Header] = ()
        self._text = b""

    def text(self, lines: Sequence[Header]) -> bytes:
        if lines is not self._lines:
            self._lines, self._text = lines, b"".join(b"%b: %b\r\n" % line for line in lines)
        return self._text


class ShortcutProtocol(GuardedProtocol):
    """HTTP/1.1 that reads a head which was met before as it was read then, where nothing else is under way."""

    lane: Lane
    standing: Standing

    def connection_made(self, transport: Any) -> None:
        self._wire = transport
        self._passage: Passage | None = None
        self._messages, self._is_at_start = 0, True
        self._idle_since: float | None = None
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        end = data.find(HEAD_END) + len(HEAD_END) if self._is_between() else 0
        if not len(HEAD_END) < end <= LONGEST_HEAD:
            super().data_received(data)
            return
        digest = sha256(data[:end]).digest()
        known = self.lane.find(digest)
        if known is None:
            self._receive_new(data, end, digest)
        elif len(data) != end + known.size or not self._enter(known, data[end:]):
            super().data_received(data)

    def _is_between(self) -> bool:
        """Whether what comes begins a request, and no other is under way."""
        cycle = self.cycle
        is_free = cycle is None or (cycle.response_complete and cycle.keep_alive)
        return is_free and self._is_at_start and not self.flow.write_paused and not self._wire.is_closing()

    def _receive_new(self, data: bytes, end: int, digest: bytes) -> None:
        """Where it is one request, whole, its head is known the next time."""
        before = self._messages
        super().data_received(data)
        cycle, is_one = self.cycle, self._messages == before + 1 and self._is_at_start
        if is_one and isinstance(cycle, RequestResponseCycle) and cycle.keep_alive:
            self.lane.learn(digest, cast(Any, cycle.scope), len(data) - end)

    def _enter(self, known: Known, body: bytes) -> bool:
        passage = self.lane.open(known, self.client[0] if self.client else "", self._answer)
        if passage is None:
            return False
        self._since, self._passage = None, passage
        self.cycle = cast(RequestResponseCycle, passage)
        self.lane.send(passage, body)
        return True

    def _answer(self, passage: Passage, answer: Answer) -> None:
        """Write it, as `corked.respond` does."""
        passage.response_complete, self._passage = True, None
        lines = [b"%b: %b\r\n" % header for header in answer.headers]
        last = b"content-length: %d\r\n%b\r\n" % (len(answer.body), b"" if passage.keep_alive else CLOSE)
        standing = self.standing.text(self.server_state.default_headers)
        head = b"".join((STATUS_LINE[answer.status], standing, *lines, last))
        transport = cast(CorkedTransport, self.transport)
        transport.write_now([head, answer.body])
        if not passage.keep_alive:
            transport.close()
        self.on_response_complete()

    def on_message_begin(self) -> None:
        self._messages += 1
        self._is_at_start = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._is_at_start = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn does it, but that `end_if_late` ends who is idle: a timer for each answer costs more."""
        self.server_state.total_requests += 1
        if self._wire.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = self.loop.time()

    def end_if_late(self, now: float) -> None:
        if self._idle_since is not None and now - self._idle_since > self.timeout_keep_alive:
            self.transport.close()
        else:
            super().end_if_late(now)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._passage is not None:
            self.lane.leave(self._passage)
        if isinstance(self.cycle, Passage):
            self.cycle = cast(Any, None)
        super().connection_lost(exc)


def short(limits: HeadLimits, lane: Lane) -> type[ShortcutProtocol]:
    """The protocol with what is its own: uvicorn makes each from its class alone."""
    return type("ShortProtocol", (ShortcutProtocol,), {"limits": limits, "lane": lane, "standing": Standing()})
