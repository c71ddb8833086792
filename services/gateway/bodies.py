"""Bodies of requests: read whole, never beyond a limit."""

from collections.abc import Mapping
from typing import ClassVar

from starlette.types import Message, Receive

from shared.errors import AimassError, TooLarge


class ClientGone(AimassError):
    """The caller closed the connection before the request was complete."""

    code: ClassVar[str] = "client_gone"
    status: ClassVar[int] = 499


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The whole body.

    Raises TooLarge as soon as the announced or the received bytes pass the limit.
    """
    check_size(int(headers.get(b"content-length", b"0")), limit)
    message = await receive()
    body = part(message)
    check_size(len(body), limit)
    return await _read_rest(receive, body, limit) if message.get("more_body") else body


async def _read_rest(receive: Receive, start: bytes, limit: int) -> bytes:
    body, more = bytearray(start), True
    while more:
        message = await receive()
        body += part(message)
        check_size(len(body), limit)
        more = message.get("more_body", False)
    return bytes(body)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read once more, and then what comes after it."""
    pending = [body]

    async def again() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return again


async def never() -> Message:
    """Of a request that is here whole there is no more."""
    return {"type": "http.disconnect"}


def part(message: Message) -> bytes:
    """What a message of ASGI brings of a body; raises ClientGone where no more can come."""
    if message["type"] == "http.disconnect":
        raise ClientGone()
    body: bytes = message.get("body", b"")
    return body


def check_size(size: int, limit: int) -> None:
    """Raises TooLarge for a body beyond the limit."""
    if size > limit:
        raise TooLarge(f"the body is larger than {limit} bytes, the most that one request may have")
