"""What registry hears and answers; what people bring is in uploads.py, how they manage it in managing.py."""

from typing import Any

from services.registry import garbage, managing, store, tagging, uploads
from services.registry.domain import (
    Decision,
    Evaluation,
    Lineage,
    Outcome,
    Version,
    decide_alias,
    decide_promotion,
    derived,
)
from services.registry.parts import Work
from shared.credentials import credential_subject
from shared.errors import Conflict, InvalidInput, NotFound, Unavailable
from shared.events.evaluation import EvaluationCompleted
from shared.events.models import DatasetRegistered, PromotionRefused, VersionPromoted, VersionRegistered
from shared.events.training import OptimisationCompleted, TrainingCompleted
from shared.handlers import Handlers
from shared.names import CHAMPION
from shared.rpc.artifacts import ListReferences
from shared.rpc.inference import ListDeployments
from shared.rpc.registry import (
    ArchiveModel,
    ArchiveVersion,
    CollectGarbage,
    CompareVersions,
    DatasetList,
    DatasetView,
    DeleteVersion,
    ExportVersion,
    GetDataset,
    GetModel,
    GetVersion,
    ListDatasets,
    ListModels,
    ListVersions,
    ModelList,
    ModelView,
    PromoteVersion,
    Promotion,
    RegisterDataset,
    RegisterImport,
    RegisterUpload,
    SetAlias,
    SetTags,
    VersionList,
    VersionView,
)
from shared.rpc.usage import CheckTaskQuota
from shared.sharing import tags_name


async def on_training_completed(event: TrainingCompleted, work: Work) -> None:
    """Register one version per task; its data set was registered before it ended."""
    lineage = Lineage.model_validate(event.model_dump())
    await store.lock_or_make_model(work.tx, work.project, lineage.model, lineage.task_type)
    if await store.has_version_of_task(work.tx, work.project, lineage.task_id):
        return
    dataset = await store.find_dataset(work.tx, work.project, lineage.dataset, lineage.dataset_digest)
    if dataset is None:
        raise Unavailable(f"data set {lineage.dataset} {lineage.dataset_digest} is not registered yet")
    number = await store.insert_version(work.tx, work.project, lineage, work.context.actor)
    facts = {"version": number, "dataset_parts": dataset.parts, "source": lineage.source, "actor": work.context.actor}
    work.say(VersionRegistered.model_validate(event.model_dump() | facts))


async def on_optimisation_completed(event: OptimisationCompleted, work: Work) -> None:
    """Register one version per task, with all that is known of the version that it was made of."""
    await store.lock_model(work.tx, work.project, event.model)
    if not await store.has_version_of_task(work.tx, work.project, event.task_id):
        origin = await store.get_version(work.tx, work.project, event.model, event.version)
        await uploads.add(work, derived(origin, event), event.auto_promote)


async def on_evaluation_completed(event: EvaluationCompleted, work: Work) -> None:
    """Keep the evaluation; promote the version where its gate passed and its training asked for that."""
    await store.lock_model(work.tx, work.project, event.model)
    candidate = await store.find_version(work.tx, work.project, event.model, event.version)
    evaluation = await store.insert_evaluation(work.tx, work.project, event)
    if evaluation is not None and evaluation.passed and event.auto_promote:
        await _promote(work, event.model, candidate, evaluation)


async def promote_version(request: PromoteVersion, work: Work) -> Promotion:
    """Promote a version by an evaluation, as its training would have asked for."""
    await store.lock_model(work.tx, work.project, request.model)
    candidate = await store.find_version(work.tx, work.project, request.model, request.version)
    evaluation = await store.find_evaluation(work.tx, work.project, request.evaluation_id)
    if evaluation is None:
        raise Unavailable(f"the evaluation {request.evaluation_id} is not known here yet")
    decision = await _promote(work, request.model, candidate, evaluation)
    return Promotion(refused=decision.reason, stale=decision.stale)


async def _promote(work: Work, model: str, candidate: Version, evaluation: Evaluation) -> Decision:
    champion = await store.find_alias(work.tx, work.project, model, CHAMPION)
    decision = decide_promotion(candidate, champion, evaluation)
    if decision.outcome is Outcome.POINT:
        await _point(work, model, CHAMPION, candidate, champion, evaluation)
    if decision.outcome is Outcome.REFUSE:
        work.say(_refusal(model, candidate, evaluation, decision))
    return decision


def _refusal(model: str, candidate: Version, evaluation: Evaluation, decision: Decision) -> PromotionRefused:
    return PromotionRefused(
        model=model,
        version=candidate.number,
        digest=evaluation.digest,
        evaluation_id=evaluation.id,
        reason=decision.reason,
        stale=decision.stale,
    )


async def _point(
    work: Work,
    model: str,
    alias: str,
    to: Version,
    previous: Version | None,
    evaluation: Evaluation | None,
    **forced: Any,
) -> None:
    evaluation_id = evaluation.id if evaluation and evaluation.passed else ""
    await store.point_alias(work.tx, work.project, model, alias, to, evaluation_id, work.context.actor)
    promoted = VersionPromoted(
        model=model,
        version=to.number,
        digest=to.digest,
        alias=alias,
        previous_version=previous.number if previous else None,
        evaluation_id=evaluation_id,
        actor=work.context.actor,
        **forced,
    )
    work.say(promoted)


async def set_alias(request: SetAlias, work: Work) -> VersionView:
    if request.force and not request.reason.strip():
        raise InvalidInput("reason: whoever forces a promotion says why", field="reason")
    await store.lock_model(work.tx, work.project, request.model)
    candidate = await store.find_version(work.tx, work.project, request.model, request.version)
    pointing = await store.find_alias(work.tx, work.project, request.model, request.alias)
    evaluation = await store.best_evaluation(work.tx, work.project, request.model, candidate.digest)
    decision = decide_alias(request.alias, candidate, pointing, evaluation, request.expected, force=request.force)
    if decision.outcome is Outcome.REFUSE:
        raise Conflict(decision.reason, field="version")
    if decision.outcome is Outcome.POINT:
        forced = {"forced": decision.forced, "reason": request.reason if request.force else ""}
        await _point(work, request.model, request.alias, candidate, pointing, evaluation, **forced)
    return await store.get_version(work.tx, work.project, request.model, request.version)


async def list_models(request: ListModels, work: Work) -> ModelList:
    return ModelList(models=await store.list_models(work.tx, work.project, request))


async def get_model(request: GetModel, work: Work) -> ModelView:
    return await store.get_model(work.tx, work.project, request.model, request.as_of)


async def list_versions(request: ListVersions, work: Work) -> VersionList:
    await store.get_model(work.tx, work.project, request.model)
    return VersionList(versions=await store.list_versions(work.tx, work.project, request))


async def get_version(request: GetVersion, work: Work) -> VersionView:
    return await store.get_version(work.tx, work.project, request.model, request.version)


async def register_dataset(request: RegisterDataset, work: Work) -> DatasetView:
    """The same digest twice changes nothing; a digest fixes its parts."""
    if await store.insert_dataset(work.tx, work.project, request):
        work.say(DatasetRegistered(dataset=request.name, digest=request.digest, parts=request.parts))
    dataset = await get_dataset(GetDataset(name=request.name, digest=request.digest), work)
    if dataset.parts != request.parts:
        raise Conflict(f"data set {request.name} {request.digest} has other parts", field="parts")
    return dataset


async def list_datasets(request: ListDatasets, work: Work) -> DatasetList:
    return DatasetList(datasets=await store.list_datasets(work.tx, work.project, request.name, request.limit))


async def get_dataset(request: GetDataset, work: Work) -> DatasetView:
    dataset = await store.find_dataset(work.tx, work.project, request.name, request.digest)
    if dataset is None:
        which = f" with digest {request.digest}" if request.digest else ""
        raise NotFound(f"there is no data set {request.name!r}{which}", field="name")
    return dataset


HANDLERS = Handlers(
    "registry",
    events={
        TrainingCompleted: on_training_completed,
        OptimisationCompleted: on_optimisation_completed,
        EvaluationCompleted: on_evaluation_completed,
    },
    rpc={
        ListModels: list_models,
        GetModel: get_model,
        ListVersions: list_versions,
        GetVersion: get_version,
        SetAlias: set_alias,
        PromoteVersion: promote_version,
        RegisterDataset: register_dataset,
        GetDataset: get_dataset,
        ListDatasets: list_datasets,
        RegisterUpload: uploads.register_upload,
        RegisterImport: uploads.register_import,
        ExportVersion: uploads.export_version,
        ArchiveModel: managing.archive_model,
        SetTags: tagging.set_tags,
        ArchiveVersion: managing.archive_version,
        DeleteVersion: managing.delete_version,
        CompareVersions: managing.compare_versions,
        CollectGarbage: garbage.collect_garbage,
    },
    asks=(CheckTaskQuota.subject(), ListDeployments.subject(), *map(ListReferences.subject, garbage.NAMING)),
    publishes=(credential_subject(tags_name("*", "*")),),
)
