"""Where extensions say their own events: checked against the schema that was registered, then said as any other."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from urllib.parse import unquote

from services.auth.bootstrap import Transaction
from services.auth.extensions import store
from services.auth.extensions.domain import Extension
from services.auth.extensions.schemas import check_data, read_object
from shared.context import Context
from shared.envelope import Envelope
from shared.errors import Conflict, Forbidden, InvalidInput, TooLarge, TooManyEvents
from shared.names import new_id
from shared.work import Outgoing

IDS = uuid.UUID("6f0c1f0e-7f0c-4c8e-9d2e-0d0f5b2b7c51")
_PLAIN = re.compile(r"[!-~]{0,128}")


@dataclass(frozen=True)
class Said:
    """An event as it came: whose and which fact, told by the subject that the bus permitted."""

    project: str
    name: str
    fact: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def read(cls, subject: str, headers: Mapping[str, str], body: bytes) -> "Said":
        _, project, name, _, fact = subject.split(".")
        return cls(project, name, fact, headers, body)


class Bucket:
    """Events a second, with a second's worth at once."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, name: str, rate: int, now: float) -> None:
        """Raises TooManyEvents, which says when to try again."""
        left, at = self._left.get(name, (float(rate), now))
        left = min(float(rate), left + (now - at) * rate)
        if left < 1:
            wait = ceil((1 - left) / rate)
            raise TooManyEvents(f"over {rate} events a second: wait {wait} s", retry_after=wait)
        self._left[name] = (left - 1, now)


class Intake:
    """Takes an event into the outbox, whole and checked, or says what is wrong with it."""

    def __init__(self, transaction: Transaction, published: Callable[[list[str]], Awaitable[None]]) -> None:
        self._transaction, self._published = transaction, published
        self._bucket = Bucket()

    async def take(self, subject: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The id and the subject of the event, once the bus holds it; a repeat of an id is the same event."""
        said = Said.read(subject, headers, body)
        extension = await self._allowed(said)
        message = await asyncio.to_thread(_checked, said, extension)
        with suppress(Conflict):  # its id is in the outbox already: it is a repeat
            async with self._transaction(Context(project=said.project, actor=extension.source)) as work:
                work.said.append(message)
        await self._published([message.id])
        return {"id": unquote(message.headers["ce-id"]), "subject": message.subject}

    async def _allowed(self, said: Said) -> Extension:
        """As it is registered now: the bus permits what was true when the extension came in."""
        async with self._transaction(Context(actor="auth")) as work:
            extension = await store.known(work.tx, said.project, said.name)
        if extension is None or extension.disabled_at:
            raise Forbidden(f"there is no extension named {said.name!r} that may say anything")
        self._bucket.take(extension.user, extension.events_per_second, time.monotonic())
        return extension


def _checked(said: Said, extension: Extension) -> Outgoing:
    schema = extension.says.get(said.fact)
    if schema is None:
        raise InvalidInput(f"{extension.name} registered no fact {said.fact!r}", field="says")
    if len(said.body) > extension.max_bytes:
        raise TooLarge(f"an event of {extension.name} has at most {extension.max_bytes} bytes", field="data")
    check_data(schema, read_object(said.body))
    envelope = _envelope(said, extension)
    identity = f"{extension.id}/{envelope.id}"
    headers = {name: value for name, value in envelope.to_headers().items() if name != "Nats-Msg-Id"}
    return Outgoing(
        envelope.subject,
        extension.event_subject(said.fact),
        said.body,
        headers,
        str(uuid.uuid5(IDS, identity)),
    )


def _envelope(said: Said, extension: Extension) -> Envelope:
    """What the extension tells of itself; who it is, the platform says."""
    return Envelope(
        type=f"ext-{extension.name}.v1.{said.fact}",
        source=extension.source,
        subject=f"ext-{extension.name}/{_given(said.headers, 'ce-subject') or said.fact}",
        id=_given(said.headers, "ce-id") or new_id(),
        project=extension.project,
        actor=extension.source,
        correlation_id=_given(said.headers, "ce-correlationid") or new_id(),
        causation_id=_given(said.headers, "ce-causationid"),
    )


def _given(headers: Mapping[str, str], name: str) -> str:
    value = unquote(next((value for known, value in headers.items() if known.lower() == name), ""))
    if not _PLAIN.fullmatch(value):
        raise InvalidInput(f"{name} has at most 128 printable characters and no space", field=name)
    return value
