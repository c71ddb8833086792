"""What people ask of batches: to be accepted, and for their results."""

from dataclasses import replace

from services.inference import store as deployments
from services.inference.batch import domain, store
from services.inference.batch.domain import KIND, Plan
from services.inference.domain import Deployment
from services.inference.parts import Parts
from shared.errors import Conflict, InvalidInput, NotFound
from shared.events.common import TaskState
from shared.names import CHAMPION
from shared.rpc.inference import BatchResult, GetBatchResult, SubmitBatch
from shared.rpc.registry import GetDataset, GetModel
from shared.rpc.trainer import TaskAccepted
from shared.sharing import owned
from shared.signatures import is_batched
from shared.tasks import store as tasks
from shared.tasks.quota import check_quota
from shared.tasks.run import accept
from shared.tasks.state import short
from shared.work import Work

TAKEN = ("loading", "staged", "serving")


async def submit_batch(request: SubmitBatch, work: Work[Parts]) -> TaskAccepted:
    """Accept a batch on one version, which stays the batch's own whatever is promoted meanwhile."""
    if not request.pipeline_id:
        await check_quota(work, KIND)
    digest = await _input(request, work)
    number = await _number(request, work)
    deployment = await deployment_of(work, request.model, number)
    given = request.model_dump(include={"alias", "dataset", "part", "format", "output"}, exclude_defaults=True)
    plan = Plan(
        version=number,
        signature=deployment.signature,
        digest=digest,
        format="npz" if request.dataset else request.format,
        output=request.output,
        parameters={"version": number, "input": digest} | given,
    )
    task = await accept(work, KIND, request.model, plan.model_dump(mode="json"))
    work.then(work.parts.runner.wake)
    return TaskAccepted(id=task.id, correlation_id=work.context.correlation_id)


async def _input(request: SubmitBatch, work: Work[Parts]) -> str:
    """The digest of the file: the one that was brought, or a part of a data set."""
    if request.digest is not None:
        return request.digest
    if request.dataset is None:
        raise InvalidInput("dataset: name a data set, or send a file as the body", field="dataset")
    dataset = await work.parts.bus.ask(GetDataset(name=request.dataset), work.context)
    if request.part not in dataset.parts:
        raise InvalidInput(f"part: data set '{request.dataset}' has {', '.join(sorted(dataset.parts))}", field="part")
    return dataset.parts[request.part]


async def _number(request: SubmitBatch, work: Work[Parts]) -> int:
    """The version that is meant: by number, by alias, or the one that serves."""
    if request.version is not None:
        return request.version
    if request.alias not in (None, CHAMPION):
        owner, name = owned(work.project, request.model)
        model = await work.parts.bus.ask(GetModel(model=name), replace(work.context, project=owner))
        if request.alias not in model.aliases:
            raise NotFound(f"model '{request.model}' has no alias '{request.alias}'", field="alias")
        return model.aliases[request.alias]
    return await serving_number(work, request.model)


async def serving_number(work: Work[Parts], model: str) -> int:
    """The version that serves."""
    route = await deployments.find_route(work.tx, *owned(work.project, model))
    if route is None or route.version is None:
        raise NotFound(f"model '{model}' has no promoted version yet: name one, or promote one", field="model")
    return route.version


async def deployment_of(work: Work[Parts], model: str, number: int) -> Deployment:
    """The version's deployment, locked, so that it is not let go before it is known to be in use."""
    deployment = await deployments.find(work.tx, *owned(work.project, model), number)
    if deployment is None or deployment.state not in TAKEN:
        raise NotFound(f"version {number} of model '{model}' is not deployed", field="version")
    if not is_batched(deployment.signature):
        message = "has no free first axis for rows: ask it one by one"
        raise InvalidInput(f"version {number} of model '{model}' {message}", field="version")
    return deployment


async def get_batch_result(request: GetBatchResult, work: Work[Parts]) -> BatchResult:
    """Raises Conflict while there is no result, NotFound when it is not kept any more."""
    task = await tasks.find(work.tx, work.project, request.task_id)
    if task.state is not TaskState.SUCCEEDED:
        raise Conflict(f"the batch is {short(task.state)}: there is a result once it has succeeded", field="task_id")
    if not await store.is_kept(work.tx, task.id, work.parts.settings.batch_keep_days):
        raise NotFound(f"a result is kept for {work.parts.settings.batch_keep_days:g} days: run the batch again")
    found = task.result
    return BatchResult(
        digest=found["digest"],
        size=found["size"],
        rows=found["rows"],
        file_name=f"{task.model}-{task.spec['version']}-{task.id}.{found['format']}",
        media_type=domain.MEDIA_TYPES[found["format"]],
    )
