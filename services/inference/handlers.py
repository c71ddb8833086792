"""What inference reacts to: versions to stage, promotions to switch to, failed gates to unstage."""

from services.inference import store
from services.inference.batch import store as batches
from services.inference.batch.handlers import get_batch_result, submit_batch
from services.inference.deferred.handlers import (
    cancel_inference,
    defer_inference,
    get_inference,
    get_inference_answer,
    list_inferences,
)
from services.inference.domain import Deployment
from services.inference.numbers import NUMBERS
from services.inference.parts import Parts
from services.inference.resources.handlers import get_resources, set_resources
from services.inference.search.handlers import build_index, delete_index, get_index, list_indexes, search_index
from services.inference.webhooks.handlers import create_webhook, delete_webhook, list_webhooks
from shared.errors import NotFound, Unavailable
from shared.events.common import Verdict
from shared.events.deployment import DeploymentUnstaged
from shared.events.evaluation import EvaluationCompleted
from shared.events.models import VersionDeleted, VersionPromoted, VersionRegistered
from shared.handlers import Handlers
from shared.names import CHAMPION, triton_name
from shared.rpc.artifacts import PAGE, ListReferences, References
from shared.rpc.base import Done
from shared.rpc.inference import (
    BuildIndex,
    CancelInference,
    CreateWebhook,
    DeferInference,
    DeleteIndex,
    DeleteWebhook,
    DeploymentList,
    GetBatchResult,
    GetIndex,
    GetInference,
    GetInferenceAnswer,
    GetInferenceStatistics,
    GetModelConfiguration,
    GetResources,
    GetServedModel,
    InferenceStatistics,
    ListDeployments,
    ListIndexes,
    ListInferences,
    ListWebhooks,
    ModelConfiguration,
    SearchIndex,
    ServedModel,
    SetResources,
    StageVersion,
    SubmitBatch,
)
from shared.rpc.registry import GetDataset, GetModel
from shared.rpc.tasks import GetTask
from shared.rpc.trainer import AskAdmission
from shared.rpc.usage import CheckTaskQuota
from shared.series import records
from shared.streams import INFERRED
from shared.tasks.handlers import TASK_RPC
from shared.work import Work


async def on_version_registered(event: VersionRegistered, work: Work[Parts]) -> None:
    deployment = Deployment(
        project=work.project,
        model=event.model,
        version=event.version,
        digest=event.digest,
        signature=event.signature,
        state="loading",
        labels=event.labels,
        context=work.context.to_headers(),
    )
    await store.insert(work.tx, deployment)
    work.parts.reconciler.wake()


async def on_version_promoted(event: VersionPromoted, work: Work[Parts]) -> None:
    if event.alias != CHAMPION:
        return
    deployment = await store.find(work.tx, work.project, event.model, event.version)
    if deployment is None:
        raise Unavailable(f"version {event.version} of '{event.model}' is not known here yet")
    sequence = work.envelope.sequence if work.envelope else 0
    wanted = await store.want_route(work.tx, deployment, sequence, work.context.to_headers())
    if wanted and deployment.state in ("unstaged", "failed", "draining"):
        await store.set_state(work.tx, deployment, "loading", "wanted again")
    work.parts.reconciler.wake()


async def on_evaluation_completed(event: EvaluationCompleted, work: Work[Parts]) -> None:
    if event.verdict is not Verdict.FAILED:
        return
    deployment = await store.find(work.tx, work.project, event.model, event.version)
    route = await store.find_route(work.tx, work.project, event.model)
    if deployment is None or (route and event.version in (route.wanted_version, route.version)):
        return
    await _unstage(work, deployment, "the gate failed: " + "; ".join(event.reasons))


async def on_version_deleted(event: VersionDeleted, work: Work[Parts]) -> None:
    """A version that drains ends by itself; nothing can be promoted to a deleted one."""
    deployment = await store.find(work.tx, work.project, event.model, event.version)
    if deployment is not None:
        await _unstage(work, deployment, "the version was deleted")


async def stage_version(request: StageVersion, work: Work[Parts]) -> Done:
    deployment = await store.find(work.tx, work.project, request.model, request.version)
    if deployment is None:
        raise NotFound(f"version {request.version} of '{request.model}' was never deployed", field="version")
    if deployment.state == "unstaged":
        await store.set_state(work.tx, deployment, "loading", "wanted again")
        work.parts.reconciler.wake()
    return Done()


async def _unstage(work: Work[Parts], deployment: Deployment, reason: str) -> None:
    if deployment.state not in ("loading", "staged"):
        return
    if await store.set_state(work.tx, deployment, "unstaged", reason):
        facts = {"model": deployment.model, "version": deployment.version, "digest": deployment.digest}
        work.say(DeploymentUnstaged(**facts, reason=reason))
        work.parts.reconciler.wake()


async def list_deployments(request: ListDeployments, work: Work[Parts]) -> DeploymentList:
    return DeploymentList(deployments=await store.views(work.tx, work.project, request.model, request.as_of))


async def list_references(request: ListReferences, work: Work[Parts]) -> References:
    served = await store.named_artifacts(work.tx, request.after, PAGE)
    of_batches = await batches.named_artifacts(work.tx, request.after, PAGE, work.parts.settings.batch_keep_days)
    of_records = await records.named_artifacts(work.tx, request.after, PAGE)
    digests = sorted({*served, *of_batches, *of_records})[:PAGE]
    return References(digests=digests, more=len(digests) == PAGE)


async def get_served_model(request: GetServedModel, parts: Parts) -> ServedModel:
    routing = parts.routing
    versions = routing.versions(request.project, request.model)
    version = request.version or routing.routes.get((request.project, request.model))
    deployment = routing.wanted.get(triton_name(request.project, request.model, version or 0))
    if deployment is None and (request.version or not versions):
        what = f"version {request.version} of model" if request.version else "model"
        raise NotFound(f"{what} '{request.model}' is not deployed")
    shown = deployment or routing.wanted[triton_name(request.project, request.model, versions[-1])]
    return ServedModel(
        model=request.model,
        ready=version in versions,
        version=version,
        versions=versions,
        signature=shown.signature,
    )


async def get_inference_statistics(request: GetInferenceStatistics, parts: Parts) -> InferenceStatistics:
    """Triton counts under a name of its own for each version, always as its version 1."""
    if request.model and request.version is not None:
        parts.routing.pick(request.project, request.model, str(request.version))
    served = parts.routing.served(request.project, request.model, request.version)
    if request.model and not served:
        raise NotFound(f"model '{request.model}' is not deployed")
    counted = [entry for entry in await parts.triton.statistics() if entry["name"] in served]
    return InferenceStatistics(model_stats=[entry | _names(served[entry["name"]]) for entry in counted])


def _names(deployment: Deployment) -> dict[str, str]:
    return {"name": deployment.model, "version": str(deployment.version)}


async def get_model_configuration(request: GetModelConfiguration, parts: Parts) -> ModelConfiguration:
    version = "" if request.version is None else str(request.version)
    deployment = parts.routing.pick(request.project, request.model, version)
    if deployment.name in parts.routing.parked:
        raise Unavailable(f"model '{request.model}' is not in memory now: a prediction loads it again")
    config = await parts.triton.configuration(deployment.name)
    for group in config.get("instance_group", []):
        group["name"] = group["name"].replace(deployment.name, deployment.model)
    for kind in ("input", "output"):
        config[kind] = [tensor for tensor in config[kind] if tensor["name"] != NUMBERS]
    return ModelConfiguration(config=config | {"name": deployment.model})


HANDLERS = Handlers(
    "inference",
    events={
        VersionRegistered: on_version_registered,
        VersionPromoted: on_version_promoted,
        EvaluationCompleted: on_evaluation_completed,
        VersionDeleted: on_version_deleted,
    },
    rpc={
        ListDeployments: list_deployments,
        StageVersion: stage_version,
        ListReferences: list_references,
        DeferInference: defer_inference,
        GetInference: get_inference,
        ListInferences: list_inferences,
        GetInferenceAnswer: get_inference_answer,
        CancelInference: cancel_inference,
        CreateWebhook: create_webhook,
        ListWebhooks: list_webhooks,
        DeleteWebhook: delete_webhook,
        GetResources: get_resources,
        SetResources: set_resources,
        SubmitBatch: submit_batch,
        GetBatchResult: get_batch_result,
        BuildIndex: build_index,
        ListIndexes: list_indexes,
        GetIndex: get_index,
        DeleteIndex: delete_index,
        **TASK_RPC,
    },
    memory_rpc={
        GetServedModel: get_served_model,
        SearchIndex: search_index,
        GetInferenceStatistics: get_inference_statistics,
        GetModelConfiguration: get_model_configuration,
    },
    asks=(
        GetDataset.subject(),
        GetModel.subject(),
        AskAdmission.subject(),
        CheckTaskQuota.subject(),
        *map(GetTask.subject, ("trainer", "evaluator")),
    ),
    publishes=(f"{INFERRED}>", "infer.>"),
    subscribes=("infer.>",),
)
