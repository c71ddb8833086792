"""Answers what comes on a subject of the bus that is no request of the platform's own."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared import observe
from shared.answering import to_error
from shared.bus import ERROR_HEADER

AT_ONCE = 16
QUEUE = "auth"
Answer = Callable[[Msg], Awaitable[bytes]]


class Desk:
    """A subject with its answer; `run` serves it until it is cancelled."""

    def __init__(self, subject: str, answer: Answer, connection: Callable[[], Client]) -> None:
        self._subject, self._answer, self._connection = subject, answer, connection
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        subscription = await self._connection().subscribe(self._subject, queue=QUEUE)
        try:
            async with asyncio.TaskGroup() as group:
                async for message in subscription.messages:
                    await self._places.acquire()
                    group.create_task(self._serve(message))
        finally:
            with suppress(nats.errors.Error):  # a connection that drains or is closed has none any more
                await subscription.unsubscribe()

    async def _serve(self, message: Msg) -> None:
        try:
            body, headers = await self._answered(message)
            if message.reply:
                await self._connection().publish(message.reply, body, headers=headers)
        except Exception as error:
            observe.log().warning("an answer could not be given", on=message.subject, error=repr(error))
        finally:
            self._places.release()

    async def _answered(self, message: Msg) -> tuple[bytes, dict[str, str] | None]:
        try:
            return await self._answer(message), None
        except Exception as failure:
            error = to_error(failure)
            return json.dumps(error.to_wire()).encode(), {ERROR_HEADER: error.code}


def as_json(answer: Callable[..., Awaitable[dict[str, Any]]]) -> Answer:
    """The answer to a message by its subject, headers and body."""

    async def give(message: Msg) -> bytes:
        return json.dumps(await answer(message.subject, message.headers or {}, message.data)).encode()

    return give
