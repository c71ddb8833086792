"""What evaluator reacts to: staged versions to evaluate, and what it must know to do so."""

from dataclasses import dataclass

from services.evaluator import store
from services.evaluator.domain import Version
from shared.errors import Unavailable
from shared.events.deployment import DeploymentStaged
from shared.events.evaluation import EvaluationRequested
from shared.events.models import PromotionRefused, VersionPromoted, VersionRegistered
from shared.handlers import Handlers
from shared.rpc.evaluator import EvaluationList, EvaluationView, GetEvaluation, ListEvaluations
from shared.tasks.handlers import TASK_RPC
from shared.tasks.run import accept
from shared.tasks.runner import TaskRunner
from shared.work import Work

CHAMPION = "champion"
KIND = "evaluate"
TEST = "test"


@dataclass(frozen=True)
class Parts:
    """What the handlers work with."""

    runner: TaskRunner


async def on_version_registered(event: VersionRegistered, work: Work[Parts]) -> None:
    version = Version(
        project=work.project,
        model=event.model,
        version=event.version,
        digest=event.digest,
        task_type=event.task_type,
        dataset=event.dataset,
        dataset_digest=event.dataset_digest,
        test_part=event.dataset_parts.get(TEST, ""),
        labels=event.labels,
        signature=event.signature,
        gate=event.gate,
        auto_promote=event.auto_promote,
    )
    await store.insert_version(work.tx, version)


async def on_version_promoted(event: VersionPromoted, work: Work[Parts]) -> None:
    if event.alias == CHAMPION and work.envelope:
        await store.set_champion(work.tx, work.project, event.model, event.version, work.envelope.sequence)


async def on_deployment_staged(event: DeploymentStaged, work: Work[Parts]) -> None:
    version = await _known(work, event.model, event.version)
    champion = await store.champion(work.tx, work.project, event.model)
    if version.version != champion and not await store.evaluated(work.tx, version, champion):
        await _request(work, version, champion)


async def on_promotion_refused(event: PromotionRefused, work: Work[Parts]) -> None:
    if not event.stale:
        return
    version = await _known(work, event.model, event.version)
    champion = await store.champion(work.tx, work.project, event.model)
    if await store.evaluated(work.tx, version, champion):
        raise Unavailable("the new champion is not known here yet")
    await _request(work, version, champion)


async def _known(work: Work[Parts], model: str, number: int) -> Version:
    version = await store.find_version(work.tx, work.project, model, number)
    if version is None:
        raise Unavailable(f"version {number} of '{model}' is not known here yet")
    return version


async def _request(work: Work[Parts], version: Version, champion: int | None) -> None:
    """Accept one evaluation beside the champion, in the transaction of the event that asks for it."""
    against = None if champion is None else await _known(work, version.model, champion)
    spec = {"version": version.version, "champion": champion}
    task = await accept(work, KIND, version.model, {"parameters": spec})
    await store.insert(work.tx, task.id, version, against)
    facts = {"model": version.model, "version": version.version, "digest": version.digest}
    work.say(EvaluationRequested(evaluation_id=task.id, **facts))
    work.then(work.parts.runner.wake)


async def list_evaluations(request: ListEvaluations, work: Work[Parts]) -> EvaluationList:
    return EvaluationList(evaluations=await store.views(work.tx, work.project, request.model, request.version))


async def get_evaluation(request: GetEvaluation, work: Work[Parts]) -> EvaluationView:
    return await store.find(work.tx, work.project, request.evaluation_id)


HANDLERS = Handlers(
    "evaluator",
    events={
        VersionRegistered: on_version_registered,
        VersionPromoted: on_version_promoted,
        DeploymentStaged: on_deployment_staged,
        PromotionRefused: on_promotion_refused,
    },
    rpc={ListEvaluations: list_evaluations, GetEvaluation: get_evaluation, **TASK_RPC},
    publishes=("infer.>", "log.>"),
)
