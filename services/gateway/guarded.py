"""Connections that take too much, or take too long before they have asked anything, are ended."""

from http import HTTPStatus
from typing import Any, Final

from services.gateway.corked import CorkedProtocol
from services.gateway.settings import HeadLimits

TARGET_BYTES: Final = 8 * 1024
LONG_BYTES: Final = 8 * 1024


class TooMuch(Exception):
    """The head is beyond what is read; the parser hands it on as an error of its own."""


class GuardedProtocol(CorkedProtocol):
    """HTTP/1.1 whose heads have a size, a number of lines and a time, and of which so many are open at once."""

    limits: HeadLimits = HeadLimits()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._refusal = HTTPStatus.BAD_REQUEST
        self._is_whole, self._heard, self._is_new = True, 0, False
        self._since: float | None = self.loop.time()
        if len(self.connections) > self.limits.connections:
            self._end(HTTPStatus.SERVICE_UNAVAILABLE)

    def data_received(self, data: bytes) -> None:
        if self._since is None and self._is_whole:
            self._since = self.loop.time()
        self._heard += len(data)
        super().data_received(data)
        self._is_new = False
        if self._is_head_too_large() and not self.transport.is_closing():
            self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _is_head_too_large(self) -> bool:
        return self._is_whole and self._since is not None and self._heard > self.limits.bytes

    def on_headers_complete(self) -> None:
        self._check_head()
        self._since, self._is_whole, self._is_new = None, False, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Of a long body no more is read before somebody asks for it, who may have a place for it."""
        super().on_body(body)
        if self._is_new and len(body) >= LONG_BYTES:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._since, self._is_whole, self._heard = None, True, 0

    def _check_head(self) -> None:
        if len(self.url) > TARGET_BYTES:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
        if len(self.headers) > self.limits.headers:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._heard > self.limits.bytes and _size(self.headers) > self.limits.bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _refuse(self, status: HTTPStatus) -> None:
        self._refusal = status
        raise TooMuch(status.phrase)

    def send_400_response(self, msg: str) -> None:
        """What the parser does not take, or we do not; of the request nothing is said back."""
        if self._since is not None or self.cycle is None or self.cycle.response_complete:
            self._end(self._refusal)
        else:
            self.transport.close()

    def _end(self, status: HTTPStatus) -> None:
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode())
        self.transport.close()

    def end_if_late(self, now: float) -> None:
        """Of a head that does not come to its end, and of a body that goes on after its answer."""
        is_answered = self.cycle is not None and self.cycle.response_complete
        if self._since is None and not self._is_whole and is_answered:
            self._since = now
        elif self._since is not None and now - self._since > self.limits.seconds:
            self._end_late()

    def _end_late(self) -> None:
        """Without a word to who said nothing, or was answered: it may be taken for the answer to what comes next."""
        if self._heard and self._is_whole:
            self._end(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def limited(limits: HeadLimits) -> type[GuardedProtocol]:
    """The protocol with limits of its own: uvicorn makes each from its class alone."""
    return type("LimitedProtocol", (GuardedProtocol,), {"limits": limits})
