"""Where a runner of tasks asks what it may run: trainer admits the tasks of all services."""

from typing import Protocol

from shared.bus import Bus
from shared.context import Context
from shared.rpc.trainer import Admission, AskAdmission

ASK_SECONDS = 3.0


class Desk(Protocol):
    """Who admits tasks."""

    async def ask(self, request: AskAdmission) -> Admission:
        """Raises Unavailable or DeadlineExceeded while nobody answers; what runs goes on running."""


class BusDesk:
    """The desk of trainer, over the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def ask(self, request: AskAdmission) -> Admission:
        return await self._bus.ask(request, Context(), seconds=ASK_SECONDS)
