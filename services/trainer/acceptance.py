"""How a training or an optimisation comes to be: its plan is completed and checked, and the task committed with what is
said of it.
"""

from typing import Any

import library
from services.trainer.domain import KIND, OPTIMISE, Plan, fits, improved, plan, requested, together
from services.trainer.on_ray.ground import check_place
from services.trainer.parts import Work
from shared.rpc.registry import GetDataset, GetVersion
from shared.rpc.trainer import SubmitOptimisation, SubmitTask
from shared.tasks import dependencies
from shared.tasks.run import accept
from shared.tasks.store import Task
from shared.tasks.terms import Terms
from shared.work import Work as AnyWork


async def accept_training(work: Work, task_id: str, order: SubmitTask, parent: str = "") -> Task:
    """Raises InvalidInput naming the field, NotFound for a member or data set that is not there."""
    accepted = await planned_training(work, order)
    await dependencies.check(work, order.terms.after)
    task = await accept_plan(work, accepted, task_id, order.terms, parent)
    work.then(work.parts.runner.wake)
    return task


async def planned_training(work: Work, order: SubmitTask) -> Plan:
    """What is asked for, completed and checked; raises as accept_training does."""
    check_place(order.terms, work.parts.settings)
    accepted = plan(library.model(order.model), order.config, order.auto_promote, order.training)
    if order.dataset is not None and order.dataset != accepted.dataset:
        found = await work.parts.bus.ask(GetDataset(name=order.dataset), work.context)
        fits(library.model(order.model), order.dataset, found.facts)
        accepted = accepted.model_copy(update={"dataset": order.dataset, "dataset_digest": found.digest})
    return accepted


async def accept_plan(
    work: AnyWork[Any], accepted: Plan, task_id: str = "", terms: Terms | None = None, parent: str = ""
) -> Task:
    """Commit the training of a plan that was checked."""
    spec = accepted.model_dump(mode="json", exclude={"model"})
    taken = together(terms or Terms(), accepted.training.workers)
    task = await accept(work, KIND, accepted.model, spec, task_id, taken, parent)
    work.say(requested(task.id, accepted))
    return task


async def accept_optimisation(work: Work, order: SubmitOptimisation, parent: str = "") -> Task:
    """Raises NotFound for a version that is not there, and what speaks against optimising it so."""
    version = await work.parts.bus.ask(GetVersion(model=order.model, version=order.version), work.context)
    made = improved(version, order.how, order.auto_promote)
    spec = made.model_dump(mode="json", exclude={"model"})
    task = await accept(work, OPTIMISE, made.model, spec, parent=parent)
    work.then(work.parts.runner.wake)
    return task
