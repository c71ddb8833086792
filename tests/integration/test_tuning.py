"""Studies on real servers beside the real registry: from the request to the one version, whatever is killed."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.registry import handlers as registry_handlers
from services.trainer.app import build
from services.trainer.handlers import HANDLERS
from services.trainer.settings import Settings
from shared.errors import Conflict, DeadlineExceeded, Unavailable
from shared.events.models import VersionRegistered
from shared.events.training import TrainingCompleted
from shared.rpc.tasks import GetTask, TaskView
from shared.rpc.trainer import GetStudy, StudyView, SubmitStudy
from shared.settings import ServiceSettings
from shared.tuning import Budget
from tests.integration.running import Ask, Running, asking, guarded_bus, running, running_service, until
from tests.integration.tasks_kit import settings_with

MEMBER = "breast-cancer-mlp"
FIXED = {"epochs": 4, "batch_size": 64}
STUDY_SECONDS = 200.0
FINAL = ("succeeded", "failed", "cancelled")
SLOW = {"epochs": 2000, "batch_size": 32}


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def settings(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> Settings:
    return settings_with(settings_of("trainer"), task_workers=2)


@pytest.fixture
async def registry(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Running]:
    async with running(registry_handlers.HANDLERS, None, settings_of("registry"), nats) as started:
        yield started


@pytest.fixture
async def trainer(registry: Running, settings: Settings, nats: NatsServer) -> AsyncIterator[Running]:
    async with running_service(build(settings), HANDLERS, nats) as started:
        yield started


@pytest.fixture
async def ask(nats: NatsServer) -> AsyncIterator[Ask]:
    async with asking(nats) as ask:
        yield ask


def study(**changes: Any) -> SubmitStudy:
    given = {"model": MEMBER, "config": FIXED, "budget": Budget(trials=3), "parallel": 2, "seed": 5}
    return SubmitStudy(**(given | changes))


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


async def test_only_the_winner_of_a_study_becomes_a_version(trainer: Running, registry: Running, ask: Ask) -> None:
    task_id = (await ask(study(terms={"tags": ["first"], "priority": 3}), correlation_id="chain-7")).id
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
    assert completed[0].parameters == FIXED | best.parameters | {"seed": 5}
    trial = await reached(ask, best.task_id, "succeeded")
    assert (trial.parent, trial.correlation_id, trial.priority) == (task_id, "chain-7", 3)
    with pytest.raises(Conflict, match=r"only those of kind tune are studies"):
        await ask(GetStudy(task_id=best.task_id))
