"""The inbox: an event's effect and the note that it was handled commit together, so a repeat changes nothing.

Failures are settled here too: transient ones come back later, the others go to the dead letters.
"""

import random
import traceback
from collections.abc import Iterable
from urllib.parse import quote

import asyncpg
import nats.errors
import nats.js.errors
from faststream.exceptions import FastStreamException
from nats.aio.msg import Msg
from nats.js.api import Header
from pydantic import ValidationError

from shared.db import Connection
from shared.envelope import ORIGINAL_SUBJECT
from shared.errors import AimassError
from shared.streams import MAX_ATTEMPTS, MAX_FAILURES

MAX_DELAY_SECONDS = 30.0
OWN_HEADER = "aimass-"
STACK_HEADER = f"{OWN_HEADER}error-stack"
STACK_CHARACTERS = 3000

# Note that this consumer handled these events; for one that it handled before no row comes back.
TAKE = """
INSERT INTO inbox (consumer, event_id) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING RETURNING event_id
"""
# Count an attempt before it begins, so that an event that kills its process is counted too.
BEGIN_ATTEMPT = """
INSERT INTO attempts (consumer, event_id, begun) VALUES ($1, $2, 1)
ON CONFLICT (consumer, event_id) DO UPDATE SET begun = attempts.begun + 1, updated_at = now() RETURNING begun
"""
# A transient failure is no fault of the event.
FORGIVE_ATTEMPT = "UPDATE attempts SET begun = begun - 1 WHERE consumer = $1 AND event_id = $2"
# A person has it tried once more: what was counted before does not count.
FORGET_ATTEMPTS = "DELETE FROM attempts WHERE consumer = $1 AND event_id = $2"
# Count a failure of unknown cause.
COUNT_FAILURE = """
INSERT INTO attempts (consumer, event_id, failed) VALUES ($1, $2, 1)
ON CONFLICT (consumer, event_id) DO UPDATE SET failed = attempts.failed + 1, updated_at = now() RETURNING failed
"""
# The inbox remembers for longer than any stream keeps.
PRUNE = "DELETE FROM inbox WHERE handled_at < now() - interval '40 days'"
PRUNE_ATTEMPTS = "DELETE FROM attempts WHERE updated_at < now() - interval '40 days'"

BUS_HEADER = "Nats-"
# The code of an error of the bus: the subject holds a message already.
NOT_THE_FIRST = 10071

_PERMANENT = (ValidationError, ValueError, FastStreamException, asyncpg.DataError)
_TRANSIENT = (OSError, TimeoutError, nats.errors.Error, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)


async def take(tx: Connection, consumer: str, event_ids: Iterable[str]) -> set[str]:
    """Those that the consumer handles for the first time; in one order, so that two of its kind never deadlock."""
    return {row["event_id"] for row in await tx.fetch(TAKE, consumer, sorted(event_ids))}


class Poison(AimassError):
    """The event began too many attempts without an end; it may kill its process."""

    code = "poison"


async def begin_attempt(tx: Connection, consumer: str, event_id: str) -> None:
    """Count an attempt; raises Poison when there were too many."""
    begun = await tx.fetchval(BEGIN_ATTEMPT, consumer, event_id)
    if begun > MAX_ATTEMPTS:
        raise Poison(f"{begun - 1} attempts began and none ended")


def is_transient(error: BaseException) -> bool | None:
    """True: try again; False: never; None: unknown, a few more times."""
    if isinstance(error, AimassError):
        return error.transient if error.code != "internal" else None
    if isinstance(error, _PERMANENT):
        return False
    return True if isinstance(error, _TRANSIENT) else None


def backoff(deliveries: int) -> float:
    """Seconds until the next delivery: doubling, with jitter, at most MAX_DELAY_SECONDS."""
    return float(min(MAX_DELAY_SECONDS, 0.25 * 2 ** min(deliveries, 10)) * random.uniform(0.5, 1.0))


def deliveries(message: Msg) -> int:
    return int(message.metadata.num_delivered)


def place(message: Msg) -> str:
    """Where a message lies, such as EVT-17."""
    return f"{message.metadata.stream}-{message.metadata.sequence.stream}"


def dead_letter_headers(message: Msg, consumer: str, error: BaseException) -> dict[str, str]:
    """The original headers, why and where the message failed, and that its subject must hold nothing yet."""
    given = {name: value for name, value in (message.headers or {}).items() if not name.startswith(BUS_HEADER)}
    text = getattr(error, "message", None) or str(error)
    return given | {
        "Nats-Msg-Id": f"dlq-{consumer}-{place(message)}",
        Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: "0",
        ORIGINAL_SUBJECT: given.get(ORIGINAL_SUBJECT, message.subject),
        f"{OWN_HEADER}consumer": consumer,
        f"{OWN_HEADER}error-class": type(error).__name__,
        f"{OWN_HEADER}error-text": text.replace("\n", " ").replace("\r", " ")[:1000],
        f"{OWN_HEADER}deliveries": str(deliveries(message)),
        STACK_HEADER: quote(_stack(error)),
    }


def _stack(error: BaseException) -> str:
    """Its last frames and what they were about, as far as a header takes them."""
    return "".join(traceback.format_exception(error))[-STACK_CHARACTERS:]


def exhausted(failed: int) -> bool:
    return failed >= MAX_FAILURES
