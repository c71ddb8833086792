"""How people keep their models in order: archive, delete, compare."""

from services.registry import store
from services.registry.domain import Version, compare
from services.registry.parts import Work
from shared.errors import Conflict
from shared.events.models import ModelArchived, ModelUnarchived, VersionArchived, VersionDeleted, VersionUnarchived
from shared.names import CHAMPION
from shared.rpc.base import Done
from shared.rpc.inference import ListDeployments
from shared.rpc.registry import (
    ArchiveModel,
    ArchiveVersion,
    CompareVersions,
    Comparison,
    DeleteVersion,
    Difference,
    ModelView,
    VersionView,
)

IN_USE = ("serving", "draining")


async def archive_model(request: ArchiveModel, work: Work) -> ModelView:
    """A model that serves goes on doing so."""
    await store.lock_model(work.tx, work.project, request.model)
    if await store.archive_model(work.tx, work.project, request.model, request.archived):
        event = ModelArchived if request.archived else ModelUnarchived
        work.say(event(model=request.model, actor=work.context.actor))
    return await store.get_model(work.tx, work.project, request.model)


async def archive_version(request: ArchiveVersion, work: Work) -> VersionView:
    version = await _held(work, request.model, request.version)
    if request.archived:
        await _refuse_champion(work, request.model, version)
    if await store.archive_version(work.tx, work.project, request.model, request.version, request.archived):
        event = VersionArchived if request.archived else VersionUnarchived
        work.say(event(model=request.model, version=version.number, digest=version.digest, actor=work.context.actor))
    return await store.get_version(work.tx, work.project, request.model, request.version)


async def delete_version(request: DeleteVersion, work: Work) -> Done:
    version = await _held(work, request.model, request.version)
    await _refuse_champion(work, request.model, version)
    answer = await work.parts.bus.ask(ListDeployments(model=request.model), work.context)
    states = {deployment.version: deployment.state for deployment in answer.deployments}
    if (state := states.get(version.number)) in IN_USE:
        raise Conflict(f"version {version.number} of {request.model!r} is {state} now", field="version")
    await store.delete_version(work.tx, work.project, request.model, version.number)
    work.say(
        VersionDeleted(model=request.model, version=version.number, digest=version.digest, actor=work.context.actor)
    )
    return Done()


async def _held(work: Work, model: str, number: int) -> Version:
    """The version, while nobody else can move the model's aliases."""
    await store.lock_model(work.tx, work.project, model)
    return await store.find_version(work.tx, work.project, model, number)


async def _refuse_champion(work: Work, model: str, version: Version) -> None:
    champion = await store.find_alias(work.tx, work.project, model, CHAMPION)
    if champion is not None and champion.number == version.number:
        raise Conflict(f"version {version.number} of {model!r} is the champion: promote another first", field="version")


async def compare_versions(request: CompareVersions, work: Work) -> Comparison:
    left = await store.get_version(work.tx, work.project, request.model, request.left)
    right = await store.get_version(work.tx, work.project, request.model, request.right)
    data, metrics = await store.evaluated(work.tx, work.project, request.model, left.digest)
    other_data, other_metrics = await store.evaluated(work.tx, work.project, request.model, right.digest)
    parameters = compare(left.parameters, right.parameters)
    return Comparison(
        left=left,
        right=right,
        parameters={name: _pair(pair) for name, pair in parameters.items() if pair[0] != pair[1]},
        metrics={name: _pair(pair) for name, pair in compare(left.metrics, right.metrics).items()},
        evaluation={
            name: _pair(pair) for name, pair in compare(metrics, other_metrics).items() if data and data == other_data
        },
    )


def _pair(values: tuple[object, object]) -> Difference:
    return Difference(left=values[0], right=values[1])
