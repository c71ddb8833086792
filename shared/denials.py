"""What the bus refuses a service: an alarm on the bus that monitor hears, and the end of a request that waits for it.

NATS tells of a refusal apart from what was refused, so that alone would look like a timeout.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import nats.errors
from nats.aio.client import Client

from shared import observe
from shared.envelope import Envelope
from shared.events.alarms import BusAccessDenied
from shared.names import DEFAULT_PROJECT

QUIET_SECONDS = 60.0
MOST_REMEMBERED = 200
_REFUSED = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"', re.IGNORECASE)


class Denial(NamedTuple):
    """What was refused: "publish" or "subscription", and the subject, in small letters as the client tells it."""

    action: str
    subject: str


def read_denial(error: Exception) -> Denial | None:
    """The refusal that an error of the client tells of, if it does."""
    found = _REFUSED.search(str(error))
    return Denial(found[1].lower(), found[2]) if found else None


class Denials:
    """Hears the errors of one connection; `client` is asked for when there is something to say."""

    def __init__(self, service: str, client: Callable[[], Client]) -> None:
        self._service, self._client = service, client
        self._said: dict[Denial, float] = {}
        self._asked: dict[str, set[asyncio.Timeout]] = {}
        self._refused: set[asyncio.Timeout] = set()

    async def on_error(self, error: Exception) -> None:
        """Log and count every error of the connection; tell monitor of a refusal, each at most once a minute."""
        if (denial := read_denial(error)) is None:
            observe.BUS_ERRORS.labels(self._service, type(error).__name__).inc()
            observe.log().error("bus error", kind=type(error).__name__, error=str(error))
            return
        observe.BUS_ERRORS.labels(self._service, "denied").inc()
        observe.BUS_DENIED.labels(self._service, denial.action).inc()
        observe.log().error("the bus denied access", action=denial.action, subject=denial.subject)
        self._end_requests(denial)
        if self._is_news(denial):
            await self._tell(denial)

    @contextmanager
    def asking(self, subject: str, limit: asyncio.Timeout) -> Iterator[Callable[[], bool]]:
        """Let a refusal of this subject end the time limit at once; what it yields says whether one did."""
        waiting = self._asked.setdefault(subject.lower(), set())
        waiting.add(limit)
        try:
            yield lambda: limit in self._refused
        finally:
            waiting.discard(limit)
            self._refused.discard(limit)
            if not waiting:
                self._asked.pop(subject.lower(), None)

    def _end_requests(self, denial: Denial) -> None:
        for limit in self._asked.get(denial.subject.lower(), ()):
            if limit.expired():
                continue
            self._refused.add(limit)
            limit.reschedule(asyncio.get_running_loop().time())

    def _is_news(self, denial: Denial) -> bool:
        now = time.monotonic()
        self._said = {each: at for each, at in self._said.items() if now - at < QUIET_SECONDS}
        if denial in self._said or len(self._said) >= MOST_REMEMBERED:
            return False
        self._said[denial] = now
        return True

    async def _tell(self, denial: Denial) -> None:
        """Without the outbox: not every service has a database, and nothing commits with it."""
        event = BusAccessDenied(service=self._service, action=denial.action, bus_subject=denial.subject)
        subject = event.subject(DEFAULT_PROJECT)
        if denial.subject == subject:
            return
        envelope = Envelope(type=event.type_name(), source=self._service, subject=event.aggregate)
        try:
            await self._client().publish(subject, event.model_dump_json().encode(), headers=envelope.to_headers())
        except nats.errors.Error as error:
            observe.log().error("a denial could not be told", error=repr(error))
