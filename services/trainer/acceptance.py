"""How a training comes to be: its plan is completed and checked, and the task committed with what is said of it."""

from typing import Any

import library
from services.trainer.domain import KIND, Plan, fits, plan, requested, together
from services.trainer.on_ray.ground import check_place
from services.trainer.parts import Work
from shared.rpc.registry import GetDataset
from shared.rpc.trainer import SubmitTask
from shared.tasks import dependencies
from shared.tasks.run import accept
from shared.tasks.store import Task
from shared.tasks.terms import Terms
from shared.work import Work as AnyWork


async def accept_training(work: Work, task_id: str, order: SubmitTask) -> Task:
    """Raises InvalidInput naming the field, NotFound for a member or data set that is not there."""
    check_place(order.terms, work.parts.settings)
    accepted = plan(library.model(order.model), order.config, order.auto_promote, order.training)
    if order.dataset is not None and order.dataset != accepted.dataset:
        found = await work.parts.bus.ask(GetDataset(name=order.dataset), work.context)
        fits(library.model(order.model), order.dataset, found.facts)
        accepted = accepted.model_copy(update={"dataset": order.dataset, "dataset_digest": found.digest})
    await dependencies.check(work, order.terms.after)
    task = await accept_plan(work, accepted, task_id, order.terms)
    work.then(work.parts.runner.wake)
    return task


async def accept_plan(
    work: AnyWork[Any], accepted: Plan, task_id: str = "", terms: Terms | None = None, parent: str = ""
) -> Task:
    """Commit the training of a plan that was checked."""
    spec = accepted.model_dump(mode="json", exclude={"model"})
    taken = together(terms or Terms(), accepted.training.workers)
    task = await accept(work, KIND, accepted.model, spec, task_id, taken, parent)
    work.say(requested(task.id, accepted))
    return task
