"""Studies on real servers beside the real registry: from the request to the one version, whatever is killed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.trainer.app import build
from services.trainer.handlers import HANDLERS
from services.trainer.settings import Settings
from shared.errors import Conflict, DeadlineExceeded, InvalidInput, Unavailable
from shared.events.models import VersionRegistered
from shared.events.training import TrainingCompleted
from shared.rpc.tasks import CancelTask, GetTask, PauseTask, ResumeTask, TaskView
from shared.rpc.trainer import GetStudy, StudyView, SubmitStudy
from shared.settings import ServiceSettings
from shared.tasks.terms import Terms
from shared.tuning import Budget, Objective, Pruner, Range, Sampler
from tests.integration.running import Ask, Running, guarded_bus, running_service, until
from tests.integration.tasks_kit import process_of, settings_with

MEMBER = "breast-cancer-mlp"
FIXED = {"epochs": 4, "batch_size": 64}
STUDY_SECONDS = 600.0
FINAL = ("succeeded", "failed", "cancelled")
RESTED = "SELECT (spec ->> 'rested')::float AS rested FROM tasks WHERE id = $1"
SLOW = {"epochs": 2000, "batch_size": 32}


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def settings(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> Settings:
    return settings_with(settings_of("trainer"), task_workers=2)


def study(**changes: Any) -> SubmitStudy:
    given = {"model": MEMBER, "config": FIXED, "budget": Budget(trials=3), "parallel": 2, "seed": 5}
    return SubmitStudy(**(given | changes))


UNHURRIED = study(config=FIXED | {"epochs": 40}, parallel=1)


async def seen(ask: Ask, task_id: str) -> StudyView:
    found: StudyView = await ask(GetStudy(task_id=task_id))
    return found


async def reached(ask: Ask, task_id: str, *states: str) -> TaskView:
    """The task in one of these states; its service may be away meanwhile."""

    async def look() -> TaskView | None:
        try:
            task: TaskView = await ask(GetTask(task_id=task_id), service="trainer")
        except (Unavailable, DeadlineExceeded):
            return None
        return task if task.state in states else None

    found: TaskView = await until(look, STUDY_SECONDS)
    return found


async def runs(ask: Ask, task_id: str, trials: int) -> StudyView:
    """The study once so many of its trials run."""

    async def look() -> StudyView | None:
        view = await seen(ask, task_id)
        return view if sum(trial.state == "running" and trial.epochs > 0 for trial in view.trials) >= trials else None

    found: StudyView = await until(look, STUDY_SECONDS)
    return found


async def versions(registry: Running) -> list[Any]:
    return await registry.said(VersionRegistered)


async def test_what_cannot_be_is_told_by_its_field(trainer: Running, ask: Ask) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "space.epochs": {"config": {}, "space": {"epochs": Range(maximum=5)}},
        "space.batch_size": {"space": {"batch_size": Range(maximum=64)}},
        "space.width": {"space": {"width": Range(maximum=64)}},
        "space.hidden": {"space": {"hidden": Range(minimum=2)}},
        "space": {
            "config": dict.fromkeys(("learning_rate", "dropout", "weight_decay"), 0.1) | {"batch_size": 8, "hidden": 8}
        },
        "config.epochs": {"config": {"epochs": 0}},
        "objectives.0.direction": {"objectives": (Objective(metric="loveliness"),)},
        "budget.target": {
            "objectives": (Objective(metric="loss"), Objective(metric="accuracy")),
            "budget": Budget(target=0.5),
        },
        "after": {"terms": {"after": ["train-00000000-0000-7000-8000-000000000000"]}},
    }
    for field, changes in wrong.items():
        with pytest.raises(InvalidInput) as caught:
            await ask(study(**changes))
        assert caught.value.field == field
        assert caught.value.message.startswith(f"{field}: ")
    assert await trainer.rows("SELECT 1 FROM tasks") == []


async def test_a_study_without_an_end_that_is_well_says_why(trainer: Running, registry: Running, ask: Ask) -> None:
    objectives = (Objective(metric="loveliness", direction="maximize"),)
    unmeasured = await ask(study(objectives=objectives, budget=Budget(trials=1)))
    task = await reached(ask, unmeasured.id, *FINAL)
    assert (task.state, task.error_class) == ("failed", "InvalidInput")
    assert "loveliness is not measured; there are " in task.error_message
    late = await ask(study(config=SLOW, budget=Budget(trials=3, seconds=2), parallel=1))
    task = await reached(ask, late.id, *FINAL)
    assert (task.state, task.error_class) == ("failed", "NoTrialSucceeded")
    assert task.error_message == "no trial of 1 ended well (seconds)"
    for trial in (*(await seen(ask, unmeasured.id)).trials, *(await seen(ask, late.id)).trials):
        assert (await reached(ask, trial.task_id, *FINAL)).state in ("succeeded", "cancelled")
    assert await versions(registry) == []


async def test_trials_that_fall_behind_are_pruned(trainer: Running, registry: Running, ask: Ask) -> None:
    asked = study(
        config={"epochs": 200, "batch_size": 8},
        space={
            "learning_rate": Range(choices=(0.01, 1e-5)),
            "hidden": Range(choices=(32,)),
            "dropout": Range(choices=(0.2,)),
            "weight_decay": Range(choices=(0.01,)),
        },
        sampler=Sampler.GRID,
        pruner=Pruner.ASHA,
        budget=Budget(trials=10),
        objectives=(Objective(metric="loss"),),
    )
    task_id = (await ask(asked)).id
    task = await reached(ask, task_id, *FINAL)
    assert task.result["trials"] == {"succeeded": 1, "pruned": 1}
    view = await seen(ask, task_id)
    behind = next(trial for trial in view.trials if trial.state == "pruned")
    assert behind.parameters["learning_rate"] == 1e-5
    assert 0 < behind.epochs < 200
    ended = await reached(ask, behind.task_id, "cancelled")
    assert ended.tags == ["pruned"]
    assert len(await until(lambda: versions(registry))) == 1


async def test_cancelling_a_study_cancels_its_trials(trainer: Running, registry: Running, ask: Ask) -> None:
    task_id = (await ask(study(config=SLOW))).id
    trials = (await runs(ask, task_id, 2)).trials
    await ask(CancelTask(task_id=task_id), service="trainer")
    assert (await reached(ask, task_id, *FINAL)).state == "cancelled"
    for trial in trials:
        assert (await reached(ask, trial.task_id, *FINAL)).state == "cancelled"
    assert await trainer.rows("SELECT 1 FROM tasks WHERE ended_at IS NULL") == []
    assert await versions(registry) == []


async def test_a_study_rests_and_goes_on_with_its_trials(trainer: Running, registry: Running, ask: Ask) -> None:
    task_id = (await ask(study(config=FIXED | {"epochs": 150}, budget=Budget(trials=2)))).id
    trials = (await runs(ask, task_id, 2)).trials
    await ask(PauseTask(task_id=task_id), service="trainer")
    await reached(ask, task_id, "paused")
    for trial in trials:
        await reached(ask, trial.task_id, "paused")
    await ask(ResumeTask(task_id=task_id), service="trainer")
    task = await reached(ask, task_id, *FINAL)
    assert (task.state, task.result["trials"]) == ("succeeded", {"succeeded": 2})
    ended = [await reached(ask, trial.task_id, "succeeded") for trial in trials]
    assert [trial.attempt for trial in ended] == [2, 2]
    assert (await trainer.rows(RESTED, task_id))[0]["rested"] > 0


async def test_killed_twice_a_study_ends_like_one_undisturbed(
    registry: Running, settings: Settings, nats: NatsServer, ask: Ask, tmp_path: Path
) -> None:
    """Killed while its first trial runs, and again after one has ended; no trial runs twice."""
    async with running_service(build(settings), HANDLERS, nats):
        undisturbed = await undisturbed_study(registry, ask)
    brief = settings.model_copy(update={"lease_seconds": 2.0})
    log = tmp_path / "trainer.log"
    with process_of("services.trainer", brief, log):
        task_id = (await until(lambda: submitted(ask, UNHURRIED))).id
        await runs(ask, task_id, 1)
    with process_of("services.trainer", brief, log):
        await until(lambda: has_begun(ask, task_id, 2), STUDY_SECONDS)
        await until(lambda: has_ended(ask, task_id, 1), STUDY_SECONDS)
    with process_of("services.trainer", settings, log):
        task = await reached(ask, task_id, *FINAL)
        view = await seen(ask, task_id)
    assert (task.state, task.result["trials"], task.attempt) == ("succeeded", {"succeeded": 3}, 3)
    assert [trial.number for trial in view.trials] == [0, 1, 2]
    told = [(trial.parameters, trial.values, trial.epochs) for trial in view.trials]
    assert told == [(trial.parameters, trial.values, trial.epochs) for trial in undisturbed.trials]
    completed = [event.task_id for event in await registry.said(TrainingCompleted)]
    assert completed == [next(one.task_id for one in of.trials if one.is_best) for of in (undisturbed, view)]


async def undisturbed_study(registry: Running, ask: Ask) -> StudyView:
    """Only its winner becomes a version."""
    given = UNHURRIED.model_copy(update={"terms": Terms(tags=["first"], priority=3)})
    task_id = (await ask(given, correlation_id="chain-7")).id
    task = await reached(ask, task_id, *FINAL)
    assert (task.state, task.tags, task.resources.cores) == ("succeeded", ["first"], 0)
    view = await seen(ask, task_id)
    assert [trial.number for trial in view.trials] == [0, 1, 2]
    assert {trial.state for trial in view.trials} == {"succeeded"}
    assert [one.metric for one in view.objectives] == ["accuracy"]
    best = max(view.trials, key=lambda trial: (trial.values[0], -trial.number))
    assert (view.best, view.winner, task.result["trial"]) == ([best.number], best.number, best.number)
    assert (task.result["ended_by"], task.result["trials"]) == ("trials", {"succeeded": 3})
    assert f"best: accuracy {best.values[0]:.6g} of trial {best.number}" in task.note
    assert len(view.parallel.lines) == 3
    version = (await until(lambda: versions(registry)))[0]
    assert (version.task_id, version.digest) == (best.task_id, task.result["digest"])
    completed = await registry.said(TrainingCompleted)
    assert [(event.task_id, event.auto_promote) for event in completed] == [(best.task_id, True)]
    assert completed[0].parameters == UNHURRIED.config | best.parameters | {"seed": 5}
    trial = await reached(ask, best.task_id, "succeeded")
    assert (trial.parent, trial.correlation_id, trial.priority) == (task_id, "chain-7", 3)
    with pytest.raises(Conflict, match=r"only those of kind tune are studies"):
        await ask(GetStudy(task_id=best.task_id))
    return view


async def submitted(ask: Ask, request: SubmitStudy) -> Any:
    try:
        return await ask(request)
    except (Unavailable, DeadlineExceeded):
        return None


async def has_begun(ask: Ask, task_id: str, attempt: int) -> bool:
    """The study itself, which may be taken over after a trial of it was."""
    try:
        return bool((await ask(GetTask(task_id=task_id), service="trainer")).attempt >= attempt)
    except (Unavailable, DeadlineExceeded):
        return False


async def has_ended(ask: Ask, task_id: str, trials: int) -> bool:
    try:
        return sum(trial.state == "succeeded" for trial in (await seen(ask, task_id)).trials) >= trials
    except (Unavailable, DeadlineExceeded):
        return False
