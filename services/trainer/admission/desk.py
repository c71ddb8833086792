"""The desk that admits tasks, asked over the bus by other services and directly by trainer's own runner."""

from collections.abc import Mapping

from services.trainer.admission import store
from services.trainer.admission.domain import admit, in_turn
from shared.db import Connection, Database
from shared.rpc.trainer import Admission, AskAdmission, NodeQueue, Queues, Taken


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


async def queues(tx: Connection, weights: Mapping[str, float]) -> Queues:
    """What runs on each node, and what waits for it in the order of the line."""
    nodes, usage = await store.seen_nodes(tx), await store.usage(tx)
    held, line = await store.held(tx), await store.in_line(tx)
    found = []
    for name, capacity in nodes.items():
        ours = in_turn([task for node, task in line if node == name], usage, weights, capacity)
        waiting = [Taken(task_id=task.task_id, project=task.project, needs=task.needs) for task in ours]
        running = [task for node, task in held if node == name]
        found.append(NodeQueue(capacity=capacity, running=running, waiting=waiting))
    return Queues(nodes=found)


class OwnDesk:
    """The way of trainer's own runner, which needs no bus."""

    def __init__(self, database: Database, weights: Mapping[str, float]) -> None:
        self._database, self._weights = database, weights

    async def ask(self, request: AskAdmission) -> Admission:
        async with self._database.transaction() as tx:
            return await decide(tx, request, self._weights)
