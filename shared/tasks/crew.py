"""The workers of a task that has several: all begin, work and end together, each a process of its own.

The first is as the only one of other tasks; the others begin once it says where to meet.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from shared.ending import PROCESS_SECONDS, end
from shared.tasks.process import ProcessLost
from shared.worker import Meeting, Result, Seat

GRACE_SECONDS = 3.0
Work = Callable[[Seat], Coroutine[Any, Any, Result]]


class Crew:
    """Where one worker ends badly all do, and what is told is the worst of it."""

    def __init__(self, seat: Seat, work: Work) -> None:
        self._seat, self._work = seat, work
        self._meeting: asyncio.Future[Meeting] = asyncio.get_running_loop().create_future()

    def meet(self, meeting: Meeting) -> None:
        if not self._meeting.done():
            self._meeting.set_result(meeting)

    async def result(self, first: Coroutine[Any, Any, Result]) -> Result:
        """That of the first worker; raises what went wrong, and of several things that which brought about the rest."""
        others = (self._join(rank) for rank in range(1, self._seat.workers))
        workers = [asyncio.create_task(worker) for worker in (first, *others)]
        try:
            ended, going = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            if going and all(isinstance(error, ProcessLost) for error in _errors(ended)):
                await asyncio.wait(going, timeout=GRACE_SECONDS)
            if errors := _errors(workers):
                raise min(errors, key=_depth)
            return workers[0].result()
        finally:
            await end(workers, PROCESS_SECONDS)
            _errors(workers)

    async def _join(self, rank: int) -> Result:
        meeting = await asyncio.shield(self._meeting)
        there = {"rank": rank, "index": rank, "meeting": meeting.address}
        return await self._work(self._seat.model_copy(update=there))


def _errors(workers: Iterable["asyncio.Task[Result]"]) -> list[BaseException]:
    ended = [worker for worker in workers if worker.done() and not worker.cancelled()]
    return [error for worker in ended if (error := worker.exception())]


def _depth(error: BaseException) -> int:
    """How far it is from the cause: what a worker says of itself, its silent end, what it says of others."""
    return 0 if not isinstance(error, ProcessLost) else 2 if error.is_hearsay else 1
