"""Dead letters: what services gave up on, shown, tried once more, or discarded with a reason."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc.monitor import (
    LETTER_PATTERN,
    DeadLetter,
    DeadLetterContent,
    DeadLetterList,
    DiscardDeadLetter,
    GetDeadLetter,
    LetterState,
    ListDeadLetters,
    ReplayDeadLetter,
    ReplayDeadLetters,
    Replayed,
)

ROUTES = Routes("dead letters")
LetterId = Annotated[str, Path(pattern=LETTER_PATTERN, description="such as registry-EVT-17")]
EventType = Annotated[str, Query(max_length=200, description="such as VersionPromoted")]


class Replay(BaseModel):
    """Of which service, and of which type or of all; at most a thousand go at a time."""

    model_config = ConfigDict(extra="forbid")
    service: Slug
    type: Annotated[str, Field(max_length=200)] = ""


class Discard(BaseModel):
    """Why nobody shall handle it."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(min_length=1, max_length=500)]


@ROUTES.add("GET", "/dead-letters", Permission.LETTERS_READ)
async def list_dead_letters(
    caller: CallerOf,
    service: Slug | None = None,
    state: LetterState | None = None,
    type: EventType = "",  # noqa: A002
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DeadLetterList:
    """What services gave up on, newest first, and how many letters wait for a decision."""
    return await caller.ask(ListDeadLetters(of=service, state=state, type=type, limit=limit))


@ROUTES.add("GET", "/dead-letters/{letter_id}", Permission.LETTERS_READ)
async def show_dead_letter(letter_id: LetterId, caller: CallerOf) -> DeadLetterContent:
    """One letter: its payload and headers, why and where it failed, after how many deliveries, in which trace."""
    return await caller.ask(GetDeadLetter(letter_id=letter_id))


@ROUTES.add("POST", "/dead-letter-replays", Permission.LETTERS_DECIDE, status_code=202)
async def replay_dead_letters(body: Replay, caller: CallerOf, idempotency_key: IdempotencyKey = "") -> Replayed:
    """Have a service try once more what waits; what fails again comes back as letters of their own."""
    request = ReplayDeadLetters(of=body.service, type=body.type)
    return await caller.ask(request, idempotency_key=idempotency_key)


@ROUTES.add("POST", "/dead-letters/{letter_id}/replay", Permission.LETTERS_DECIDE, status_code=202)
async def replay_dead_letter(letter_id: LetterId, caller: CallerOf, idempotency_key: IdempotencyKey = "") -> DeadLetter:
    """Have the service that gave up try once more, and nobody else."""
    return await caller.ask(ReplayDeadLetter(letter_id=letter_id), idempotency_key=idempotency_key)


@ROUTES.add("POST", "/dead-letters/{letter_id}/discard", Permission.LETTERS_DECIDE)
async def discard_dead_letter(
    letter_id: LetterId, body: Discard, caller: CallerOf, idempotency_key: IdempotencyKey = ""
) -> DeadLetter:
    """Decide that nobody will handle it, and say why."""
    request = DiscardDeadLetter(letter_id=letter_id, reason=body.reason)
    return await caller.ask(request, idempotency_key=idempotency_key)
