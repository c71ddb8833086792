"""The job of an evaluation: score a version and the champion as served, on the same held-out items."""

import asyncio
from typing import Any

import library
from library.base import Gate, Model, TaskType
from library.files import pack, target_of, unpack
from services.evaluator import store
from services.evaluator.admission import KIND, evaluate, known_version
from services.evaluator.data_plane import Advance, Array, Arrays, DataPlane, NotServed
from services.evaluator.domain import Judgement, Rivalry, Version, judge, member_of, rivalry, scalars
from services.evaluator.engine import BASELINE, CANDIDATE, TRUTH, BaselineSpec, ScoringSpec
from shared.errors import AimassError
from shared.events.common import Verdict
from shared.events.evaluation import EvaluationCompleted, EvaluationFailed
from shared.names import CHAMPION
from shared.tasks.run import Job, TaskRun
from shared.tasks.store import Task
from shared.work import Work
from shared.worker import Progress

SCORING = "services.evaluator.engine"
OUTPUTS = "outputs.npz"
TRAIN = "train.npz"
TEST = "test.npz"
ASKING_SHARE = 0.95


class NoTestData(AimassError):
    """The version names no held-out data to be evaluated on."""

    code = "no_test_data"


class NoGate(AimassError):
    """The model declares no gate, so nothing says what is good enough."""

    code = "no_gate"


class ChampionChanged(AimassError):
    """The champion changed during the comparison and is not served any more; the version is evaluated again."""

    code = "champion_changed"


class EvaluateJob(Job):
    """Evaluate one version; nothing of it is kept before its end, so it may begin again at any time."""

    kind = KIND

    def __init__(self, data_plane: DataPlane) -> None:
        self._data_plane = data_plane

    async def execute(self, run: TaskRun) -> None:
        version, champion = await self._versions(run)
        rival = champion if champion and champion.takes_the_same(version) else None
        items = await self._items(run, version)
        target = target_of(items)
        advance = _progress(run, len(items[target]) * (2 if rival else 1))
        arrays = {TRUTH: items[target], CANDIDATE: await self._data_plane.outputs(version, items, advance)}
        if rival:
            arrays[CHAMPION] = await self._champion_outputs(run, rival, items, advance)
        member = member_of(version, items, library.catalogue())
        scores = await _scores(run, version, arrays, member)
        beside = rivalry(member, scalars(scores[CANDIDATE]), scalars(scores[BASELINE] or {}))
        await self._conclude(run, version, champion, scores, beside)

    async def _champion_outputs(self, run: TaskRun, champion: Version, items: Arrays, advance: Advance) -> Array:
        try:
            return await self._data_plane.outputs(champion, items, advance)
        except NotServed:
            if await self._champion_now(run) != champion.version:
                raise ChampionChanged() from None
            raise

    async def _champion_now(self, run: TaskRun) -> int | None:
        found: list[int | None] = []

        async def read(work: Work[None]) -> None:
            found.append((await store.champion(work.tx, work.project, run.task.model)).version)

        await run.write(read)
        return found[-1]

    async def _versions(self, run: TaskRun) -> tuple[Version, Version | None]:
        numbers = run.task.spec["parameters"]
        found: dict[str, Version | None] = {}

        async def read(work: Work[None]) -> None:
            for role, number in numbers.items():
                found[role] = number and await store.find_version(work.tx, work.project, run.task.model, number)

        await run.write(read)
        version, champion = found["version"], found["champion"]
        assert version is not None
        return version, champion

    async def _items(self, run: TaskRun, version: Version) -> Arrays:
        if not version.test_part:
            raise NoTestData()
        if not version.gate:
            raise NoGate()
        path = await run.artifacts.get_file(version.test_part, run.path(TEST))
        return await asyncio.to_thread(unpack, path)

    async def _conclude(
        self, run: TaskRun, version: Version, champion: Version | None, scores: dict[str, Any], beside: Rivalry
    ) -> None:
        report = scores[CANDIDATE]
        metrics, champion_metrics = scalars(report), scalars(scores[CHAMPION] or {})
        judgement = judge(Gate.of(version.gate), metrics, champion_metrics if champion else None)
        completed = _completed(run, version, champion, report, metrics, champion_metrics, judgement, beside)

        async def write(work: Work[None]) -> None:
            await store.conclude(work.tx, run.task.id, report, metrics, champion_metrics, judgement, beside)
            work.say(completed)
            await run.succeed(work, {"passed": judgement.passed, "metrics": metrics})

        await run.write(write)

    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        version = await _say_failed(task, work)
        if task.error_class == ChampionChanged.__name__:
            await evaluate(work, version)

    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        await _say_failed(task, work)


async def _say_failed(task: Task, work: Work[Any]) -> Version:
    version = await known_version(work, task.model, task.spec["parameters"]["version"])
    failed = EvaluationFailed(
        evaluation_id=task.id,
        model=task.model,
        version=version.version,
        digest=version.digest,
        error_class=task.error_class or "Cancelled",
        error_message=task.error_message or task.note,
    )
    work.say(failed)
    return version


def _progress(run: TaskRun, total: int) -> Advance:
    """What tells the task's progress as items are answered; the last part is left for the scoring."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        run.progress(Progress(fraction=ASKING_SHARE * done / total, message=f"asked {done} of {total}"))

    return advance


async def _scores(run: TaskRun, version: Version, arrays: Arrays, member: Model[Any] | None) -> dict[str, Any]:
    """The scoring process's result, on the outputs in the work folder; it tries the member's baseline itself."""
    await asyncio.to_thread(run.path(OUTPUTS).write_bytes, await asyncio.to_thread(pack, arrays))
    baseline = await _baseline(run, version, member) if member else None
    facts = {"task_type": TaskType(version.task_type), "labels": version.labels}
    spec = ScoringSpec(**facts, outputs=OUTPUTS, baseline=baseline)
    return (await run.execute(SCORING, spec, tells_progress=False)).data


async def _baseline(run: TaskRun, version: Version, member: Model[Any]) -> BaselineSpec:
    await run.artifacts.get_file(version.train_part, run.path(TRAIN))
    return BaselineSpec(model=member.name, train=TRAIN, test=TEST)


def _completed(
    run: TaskRun,
    version: Version,
    champion: Version | None,
    report: dict[str, Any],
    metrics: dict[str, float],
    champion_metrics: dict[str, float],
    judgement: Judgement,
    beside: Rivalry,
) -> EvaluationCompleted:
    return EvaluationCompleted(
        evaluation_id=run.task.id,
        model=version.model,
        version=version.version,
        digest=version.digest,
        dataset_digest=version.dataset_digest,
        metrics=metrics,
        report=report,
        champion_version=champion.version if champion else None,
        champion_digest=champion.digest if champion else "",
        champion_metrics=champion_metrics,
        verdict=Verdict.PASSED if judgement.passed else Verdict.FAILED,
        reasons=judgement.reasons,
        auto_promote=version.auto_promote,
        baseline_method=beside.method,
        baseline_metric=beside.metric,
        baseline_metrics=dict(beside.metrics),
        baseline_beaten=beside.beaten,
    )
