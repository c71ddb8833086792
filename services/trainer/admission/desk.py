"""The desk that admits tasks, asked over the bus by other services and directly by trainer's own runner."""

from collections.abc import Mapping

from services.trainer.admission import store
from services.trainer.admission.domain import admit
from shared.db import Connection, Database
from shared.rpc.trainer import Admission, AskAdmission


async def decide(tx: Connection, told: AskAdmission, weights: Mapping[str, float]) -> Admission:
    """Keep what the runner says, and answer what it may run now."""
    await store.tell(tx, told)
    if not told.waiting:
        return Admission()
    facts = (await store.taken(tx, told), await store.waiting(tx, told), await store.usage(tx))
    decision = admit(told.capacity, *facts, weights, await store.nodes(tx, told.node))
    for task in decision.admitted:
        await store.hold(tx, told, task)
        await store.drop_wish(tx, task.task_id)
    too_large = [task.task_id for task in decision.too_large if task.is_askers]
    return Admission(admitted=[task.task_id for task in decision.admitted], too_large=too_large)


class OwnDesk:
    """The way of trainer's own runner, which needs no bus."""

    def __init__(self, database: Database, weights: Mapping[str, float]) -> None:
        self._database, self._weights = database, weights

    async def ask(self, request: AskAdmission) -> Admission:
        async with self._database.transaction() as tx:
            return await decide(tx, request, self._weights)
