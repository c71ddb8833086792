"""What people ask of a model's resources: to show them, and to change what is wanted."""

from services.inference.parts import Parts
from services.inference.resources import store
from services.inference.resources.domain import MIB, Bounds
from shared.errors import InvalidInput, NotFound
from shared.events.deployment import ResourcesChanged
from shared.rpc.inference import GetResources, Resources, SetResources
from shared.work import Work


async def get_resources(request: GetResources, work: Work[Parts]) -> Resources:
    await _check_known(work, request.model)
    return await _shown(work, request.model)


async def set_resources(request: SetResources, work: Work[Parts]) -> Resources:
    """Nodes follow at their next turn."""
    await _check_known(work, request.model)
    most = work.parts.settings.instances_max
    if request.instances_max > most:
        raise InvalidInput(f"instances_max: a node gives a model {most} instances at most", field="instances_max")
    if request.instances_min > request.instances_max:
        raise InvalidInput("instances_min: must not be more than instances_max", field="instances_min")
    bounds = Bounds(request.instances_min, request.instances_max, request.pinned)
    if bounds != await store.find(work.tx, work.project, request.model):
        await store.save(work.tx, work.project, request.model, bounds)
        wanted = request.model_dump(include={"model", "instances_min", "instances_max", "pinned"})
        work.say(ResourcesChanged(**wanted, actor=work.context.actor))
        work.parts.reconciler.wake()
    return await _shown(work, request.model)


async def _check_known(work: Work[Parts], model: str) -> None:
    if not await store.is_known(work.tx, work.project, model):
        raise NotFound(f"no version of a model '{model}' was deployed")


async def _shown(work: Work[Parts], model: str) -> Resources:
    bounds = await store.find(work.tx, work.project, model)
    return Resources(
        model=model,
        instances_min=bounds.least,
        instances_max=bounds.most,
        pinned=bounds.pinned,
        memory_budget_bytes=work.parts.settings.memory_mb * MIB,
        given=await store.given(work.tx, work.project, model),
    )
