"""What evaluator reacts to: staged versions to evaluate, and what it must know to do so."""

from dataclasses import dataclass

from services.evaluator import store
from services.evaluator.admission import evaluate, known_version
from services.evaluator.domain import Champion, Version
from shared.errors import InvalidInput, Unavailable
from shared.events.deployment import DeploymentStaged
from shared.events.models import PromotionRefused, VersionPromoted, VersionRegistered
from shared.handlers import Handlers
from shared.names import CHAMPION
from shared.rpc.artifacts import PAGE, ListReferences, References
from shared.rpc.evaluator import EvaluationList, EvaluationView, GetEvaluation, ListEvaluations
from shared.rpc.inference import StageVersion
from shared.rpc.tasks import GetTask
from shared.rpc.trainer import AskAdmission
from shared.series import records
from shared.tasks.handlers import TASK_RPC
from shared.tasks.runner import TaskRunner
from shared.work import Work as AnyWork

TRAIN = "train"
TEST = "test"


@dataclass(frozen=True)
class Parts:
    """What the handlers work with."""

    runner: TaskRunner


Work = AnyWork[Parts]


async def on_version_registered(event: VersionRegistered, work: Work) -> None:
    version = Version(
        project=work.project,
        model=event.model,
        version=event.version,
        digest=event.digest,
        task_type=event.task_type,
        dataset=event.dataset,
        dataset_digest=event.dataset_digest,
        train_part=event.dataset_parts.get(TRAIN, ""),
        test_part=event.dataset_parts.get(TEST, ""),
        labels=event.labels,
        signature=event.signature,
        gate=event.gate,
        auto_promote=event.auto_promote,
    )
    await store.insert_version(work.tx, version)


async def on_version_promoted(event: VersionPromoted, work: Work) -> None:
    if event.alias == CHAMPION and work.envelope:
        champion = Champion(event.version, work.envelope.sequence)
        await store.set_champion(work.tx, work.project, event.model, champion)


async def on_deployment_staged(event: DeploymentStaged, work: Work) -> None:
    """Evaluate what was staged, once beside each champion; not what was brought without a data set, nor what an
    evaluation brought back for itself.
    """
    version = await known_version(work, event.model, event.version)
    if event.digest != version.digest:
        raise InvalidInput(f"version {event.version} of '{event.model}' has another digest than was staged")
    if not version.dataset or await store.needed(work.tx, version):
        return
    await evaluate(work, version)
    work.then(work.parts.runner.wake)


async def on_promotion_refused(event: PromotionRefused, work: Work) -> None:
    """Compare again where the champion changed since the comparison, once its successor is known here.

    Not with a newer one: who was overtaken is for people to promote, else equals would replace each other for ever.
    """
    if not event.stale or work.envelope is None:
        return
    version = await known_version(work, event.model, event.version)
    stale = await store.find(work.tx, work.project, event.evaluation_id)
    champion = await store.champion(work.tx, work.project, event.model)
    if champion.version == stale.champion_version and champion.sequence < work.envelope.sequence:
        raise Unavailable("the new champion is not known here yet")
    if (champion.version or 0) > version.version:
        return
    await evaluate(work, version)
    work.then(work.parts.runner.wake)


async def list_evaluations(request: ListEvaluations, work: Work) -> EvaluationList:
    return EvaluationList(evaluations=await store.views(work.tx, work.project, request.model, request.version))


async def get_evaluation(request: GetEvaluation, work: Work) -> EvaluationView:
    return await store.find(work.tx, work.project, request.evaluation_id)


async def list_references(request: ListReferences, work: Work) -> References:
    digests = await records.named_artifacts(work.tx, request.after, PAGE)
    return References(digests=digests, more=len(digests) == PAGE)


HANDLERS = Handlers(
    "evaluator",
    events={
        VersionRegistered: on_version_registered,
        VersionPromoted: on_version_promoted,
        DeploymentStaged: on_deployment_staged,
        PromotionRefused: on_promotion_refused,
    },
    rpc={
        ListEvaluations: list_evaluations,
        GetEvaluation: get_evaluation,
        ListReferences: list_references,
        **TASK_RPC,
    },
    asks=(AskAdmission.subject(), StageVersion.subject(), *map(GetTask.subject, ("trainer", "inference"))),
    publishes=("infer.>",),
)
