"""The requests about dead letters."""

from typing import Any

from services.monitor.dead_letters import store
from services.monitor.dead_letters.domain import Letter, check_undecided, replay_headers
from shared.events.bus import DeadLetterDiscarded, DeadLetterReplayed
from shared.handlers import RpcHandler
from shared.rpc.base import Request
from shared.rpc.monitor import (
    DeadLetter,
    DeadLetterContent,
    DeadLetterList,
    DiscardDeadLetter,
    GetDeadLetter,
    ListDeadLetters,
    ReplayDeadLetter,
    ReplayDeadLetters,
    Replayed,
)
from shared.streams import retry_subject
from shared.work import Work

MOST_AT_ONCE = 1000


async def list_dead_letters(request: ListDeadLetters, work: Work[Any]) -> DeadLetterList:
    letters = await store.listed(work.tx, work.project, request)
    waiting = await store.count_waiting(work.tx, work.project)
    return DeadLetterList(letters=[letter.view() for letter in letters], waiting=waiting)


async def get_dead_letter(request: GetDeadLetter, work: Work[Any]) -> DeadLetterContent:
    return (await store.find(work.tx, work.project, request.letter_id)).content()


async def replay_dead_letter(request: ReplayDeadLetter, work: Work[Any]) -> DeadLetter:
    letter = await store.find(work.tx, work.project, request.letter_id, lock=True)
    check_undecided(letter)
    return (await _replay(letter, work)).view()


async def replay_dead_letters(request: ReplayDeadLetters, work: Work[Any]) -> Replayed:
    waiting = await store.waiting(work.tx, work.project, request.of, request.type, MOST_AT_ONCE)
    return Replayed(ids=[(await _replay(letter, work)).id for letter in waiting])


async def _replay(letter: Letter, work: Work[Any]) -> Letter:
    """The message commits with the decision; letters of one service go in the order of their deaths."""
    work.send(f"retry/{letter.service}", retry_subject(letter.service), letter.payload, replay_headers(letter))
    actor = work.context.actor
    work.say(DeadLetterReplayed(**_named(letter), actor=actor))
    return await store.decide(work.tx, letter, "replayed", actor)


async def discard_dead_letter(request: DiscardDeadLetter, work: Work[Any]) -> DeadLetter:
    letter = await store.find(work.tx, work.project, request.letter_id, lock=True)
    check_undecided(letter)
    actor = work.context.actor
    work.say(DeadLetterDiscarded(**_named(letter), reason=request.reason, actor=actor))
    return (await store.decide(work.tx, letter, "discarded", actor, request.reason)).view()


def _named(letter: Letter) -> dict[str, str]:
    return {"letter_id": letter.id, "service": letter.service, "type": letter.type, "event_id": letter.event_id}


DEAD_LETTER_RPC: dict[type[Request[Any]], RpcHandler] = {
    ListDeadLetters: list_dead_letters,
    GetDeadLetter: get_dead_letter,
    ReplayDeadLetter: replay_dead_letter,
    ReplayDeadLetters: replay_dead_letters,
    DiscardDeadLetter: discard_dead_letter,
}
