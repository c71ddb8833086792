"""The same training again: what it takes to be the same, and what came out otherwise."""

from collections.abc import Mapping
from typing import Any

from services.trainer.domain import KIND, Plan, Trained
from shared.errors import Conflict
from shared.events.common import TaskState
from shared.tasks import store
from shared.tasks.state import short
from shared.tasks.store import Task
from shared.work import Work


def record(plan: Plan, trained: Trained) -> dict[str, Any]:
    """Code, seed, data, environment and machine of a training; its config is among the task's parameters."""
    facts = {"code_version": trained.code_version, "seed": plan.seed}
    return facts | {"dataset": plan.dataset, "dataset_digest": plan.dataset_digest} | trained.record


def repeated(task: Task) -> Plan:
    """The plan of a training that succeeded, on the very data that it learned from; raises Conflict for another."""
    if task.kind != KIND or task.state is not TaskState.SUCCEEDED:
        raise Conflict(
            f"{task.id} is {short(task.state)}: only a training that succeeded can be reproduced", field="task_id"
        )
    plan = Plan(model=task.model, **task.spec)
    return plan.model_copy(update={"reproduces": task.id, "auto_promote": False})


async def compared(work: Work[Any], task_id: str, now: Mapping[str, Any]) -> dict[str, Any]:
    """What a training that ends now has otherwise than the one that it reproduces."""
    before = (await store.find(work.tx, work.project, task_id)).result
    return {"of": task_id, **differences(before, now)}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Of two results: whether the files are the same, and every metric and circumstance that is not."""
    return {
        "same_digest": before.get("digest") == now["digest"],
        "metrics": _differing(before.get("metrics", {}), now["metrics"]),
        "record": _differing(before.get("record", {}), now["record"]),
    }


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    names = [*before, *(name for name in now if name not in before)]
    values = {name: {"before": before.get(name), "now": now.get(name)} for name in names}
    return {name: both for name, both in values.items() if both["before"] != both["now"]}
