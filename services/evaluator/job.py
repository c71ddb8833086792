"""The job of an evaluation: score a version and the champion as served, on the same held-out items."""

from typing import Any

import library
from library.base import Gate
from library.files import pack, unpack
from services.evaluator import store
from services.evaluator.data_plane import Arrays, DataPlane
from services.evaluator.domain import Judgement, Version, judge, scalars
from shared.errors import AimassError
from shared.events.common import Verdict
from shared.events.evaluation import EvaluationCompleted, EvaluationFailed
from shared.tasks.run import Job, TaskRun
from shared.tasks.store import Task
from shared.work import Work
from shared.worker import Progress

SCORING = "services.evaluator.engine"
OUTPUTS = "outputs.npz"


class NoTestData(AimassError):
    """The version names no held-out data to be evaluated on."""

    code = "no_test_data"


class EvaluateJob(Job):
    """Evaluate one version; nothing of it is kept before its end, so it may begin again at any time."""

    kind = "evaluate"

    def __init__(self, data_plane: DataPlane) -> None:
        self._data_plane = data_plane

    async def execute(self, run: TaskRun) -> None:
        version, champion = await self._versions(run)
        items = await self._items(run, version)
        done = 0
        total = len(next(iter(items.values()))) * (2 if champion else 1)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            run.progress(Progress(fraction=0.9 * done / total, message=f"asked {done} of {total}"))

        target = library.data_set(version.dataset).schema.target.name
        arrays = {"y_true": items[target], "candidate": await self._data_plane.outputs(version, items, advance)}
        if champion:
            arrays["champion"] = await self._data_plane.outputs(champion, items, advance)
        await self._conclude(run, version, champion, await _scores(run, version, arrays))

    async def _versions(self, run: TaskRun) -> tuple[Version, Version | None]:
        numbers = run.task.spec["parameters"]
        found: dict[str, Version | None] = {}

        async def read(work: Work[None]) -> None:
            for role, number in numbers.items():
                found[role] = await store.find_version(work.tx, work.project, run.task.model, number or 0)

        await run.write(read)
        version, champion = found["version"], found["champion"]
        assert version is not None
        return version, champion

    async def _items(self, run: TaskRun, version: Version) -> Arrays:
        if not version.test_part:
            raise NoTestData()
        path = await run.artifacts.get_file(version.test_part, run.path("test.npz"))
        return unpack(path)

    async def _conclude(self, run: TaskRun, version: Version, champion: Version | None, scores: dict[str, Any]) -> None:
        report = scores["candidate"]
        metrics, champion_metrics = scalars(report), scalars(scores["champion"] or {})
        judgement = judge(Gate.of(version.gate), metrics, champion_metrics if champion else None)
        completed = _completed(run, version, champion, report, metrics, champion_metrics, judgement)

        async def write(work: Work[None]) -> None:
            await store.conclude(work.tx, run.task.id, report, metrics, champion_metrics, judgement)
            work.say(completed)
            await run.succeed(work, {"passed": judgement.passed, "metrics": metrics})

        await run.write(write)

    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        work.say(_failed(task))

    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        work.say(_failed(task))


def _failed(task: Task) -> EvaluationFailed:
    return EvaluationFailed(
        evaluation_id=task.id,
        model=task.model,
        version=task.spec["parameters"]["version"],
        error_class=task.error_class or "Cancelled",
        error_message=task.error_message or task.note,
    )


async def _scores(run: TaskRun, version: Version, arrays: Arrays) -> dict[str, Any]:
    """The scoring process's result, on the outputs in the work folder."""
    (run.folder / OUTPUTS).write_bytes(pack(arrays))
    spec = {"task_type": version.task_type, "labels": version.labels, "outputs": OUTPUTS}
    return (await run.execute(SCORING, spec)).data


def _completed(
    run: TaskRun,
    version: Version,
    champion: Version | None,
    report: dict[str, Any],
    metrics: dict[str, float],
    champion_metrics: dict[str, float],
    judgement: Judgement,
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
    )
