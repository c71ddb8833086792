"""The data plane's connection to the bus: nats-py's, without its queues and tasks between the socket and the listener.

A message is handled in the turn of the loop that brings it, and leaves in the turn that sends it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

ROUND_TRIP_SECONDS = 2
_NOBODY = b"NATS/1.0 503"


class Arrived(NamedTuple):
    """A message of the bus; `is_nobody` says that nobody listens to what was sent."""

    subject: str
    reply: str
    data: bytes
    is_nobody: bool = False


Listener = Callable[[Arrived], None]


class DirectClient(Client):
    """A client whose listeners are plain functions; what one raises is reported and ends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[int, Listener] = {}

    async def listen(self, subject: str, listener: Listener, queue: str = "") -> Subscription:
        """Hand every message of a subject to a function, until the subscription ends."""

        async def on_early(message: Any) -> None:
            listener(Arrived(message.subject, message.reply, message.data))

        subscription = await self.subscribe(subject, queue=queue, cb=on_early)
        known = {number: each for number, each in self._listeners.items() if number in self._subs}
        self._listeners = known | {subscription._id: listener}
        return subscription

    async def unlisten(self, subscription: Subscription) -> None:
        """Return when the bus sends no more to a listener, and all that it has sent is handled."""
        try:
            await self._send_unsubscribe(subscription._id)
            for _ in range(2):  # the first ping may overtake what is not written yet
                await self.flush(ROUND_TRIP_SECONDS)
        finally:
            self._remove_sub(subscription._id)

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Write a message after what waits to be written; one without a connection waits for the next connection.

        Raises nats.errors.ConnectionClosedError for ever after the end, OutboundBufferLimitError when too much waits.
        """
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        self._pending += (f"PUB {subject} {reply} {len(payload)}\r\n".encode(), payload, b"\r\n")
        self._pending_data_size += len(payload)
        if self.is_connected and self._transport is not None:
            unsent, self._pending, self._pending_data_size = self._pending, [], 0
            self._transport.writelines(unsent)
        elif self._pending_data_size > self._max_pending_size:
            del self._pending[-3:]
            self._pending_data_size -= len(payload)
            raise nats.errors.OutboundBufferLimitError

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        listener = self._listeners.get(sid)
        if listener is None or sid not in self._subs:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        is_nobody = headers is not None and headers.startswith(_NOBODY)
        try:
            listener(Arrived(subject.decode(), reply.decode(), data, is_nobody))
        except Exception as error:
            await self._error_cb(error)
