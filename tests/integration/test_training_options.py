"""What a training is told, shows and leaves behind, through the running trainer: checkpoints, best, insights, again."""

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from services.registry import handlers as registry_handlers
from services.trainer.app import build
from services.trainer.handlers import HANDLERS
from shared.errors import Conflict, InvalidInput, NotFound
from shared.events.models import VersionRegistered
from shared.events.training import EpochCompleted, TrainingCompleted, TrainingFailed, TrainingRequested
from shared.rpc.tasks import TaskView
from shared.rpc.trainer import GetInsights, GetProfile, ReproduceTask, SubmitTask
from tests.conftest import fresh_database, settings_on
from tests.integration.running import Ask, Running, asking, guarded_bus, running, running_service
from tests.integration.tasks_kit import settings_with
from tests.integration.test_trainer import CONFIG, ended

pytestmark = pytest.mark.asyncio(loop_scope="module")
STRANGER = "train-01890000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class House:
    """A trainer beside a registry, how one asks them, and where artifacts lie."""

    trainer: Running
    registry: Running
    ask: Ask
    artifacts: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """One trainer for all: most of a short training is its process, and of its first one the data set."""
    folder = tmp_path_factory.mktemp("trainer")
    with guarded_bus(folder / "nats", HANDLERS) as nats, fresh_database(postgres, passwords) as urls:
        settings = settings_with(settings_on(nats, urls, folder, "trainer"))
        async with (
            running(registry_handlers.HANDLERS, None, settings_on(nats, urls, folder, "registry"), nats) as registry,
            running_service(build(settings), HANDLERS, nats) as trainer,
            asking(nats) as ask,
        ):
            yield House(trainer, registry, ask, folder / "artifacts")


@pytest.fixture(scope="module")
def trainer(house: House) -> Running:
    return house.trainer


@pytest.fixture(scope="module")
def ask(house: House) -> Ask:
    return house.ask


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(ask: Ask) -> TaskView:
    return await trained(ask, accumulate=2, checkpoint_steps=3, precision="float32")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain(ask: Ask) -> TaskView:
    return await trained(ask, deterministic=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unmeasured(ask: Ask) -> TaskView:
    return await trained(ask, early_stopping={"patience": 1, "metric": "validation_f1", "mode": "max"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def looked_at(ask: Ask) -> TaskView:
    return await trained(ask, CONFIG | {"epochs": 4}, insights_every=2, profile_steps=3)


async def trained(ask: Ask, config: dict[str, Any] = CONFIG, **training: Any) -> TaskView:
    accepted = await ask(SubmitTask(model="digits-cnn", config=config, training=training))
    return await ended(ask, accepted.id)


@pytest.mark.parametrize(
    ("training", "field"),
    [
        ({"clip_norm": 0}, "training.clip_norm"),
        ({"surprise": 1}, "training.surprise"),
        ({"early_stopping": {"patience": 0}}, "training.early_stopping.patience"),
        ({"early_stopping": {"patience": 1, "metric": "validation_f1"}}, "training.early_stopping.mode"),
        ({"precision": "float16", "device": "cpu"}, "training.precision"),
    ],
)
async def test_a_wrong_option_is_named_before_anything_runs(
    trainer: Running, ask: Ask, training: dict[str, Any], field: str
) -> None:
    before = await trainer.rows("SELECT id FROM tasks")
    with pytest.raises(InvalidInput, match=f"^{field}: ") as caught:
        await ask(SubmitTask(model="digits-cnn", config=CONFIG, training=training))
    assert caught.value.field == field
    assert await trainer.rows("SELECT id FROM tasks") == before


async def test_what_is_told_is_shown_and_nothing_else(trainer: Running, told: TaskView, plain: TaskView) -> None:
    assert told.state == "succeeded"
    assert told.parameters["training"] == {"accumulate": 2, "checkpoint_steps": 3}
    assert "training" not in plain.parameters
    requested = {event.task_id: event.parameters for event in await trainer.said(TrainingRequested)}
    assert (requested[told.id], requested[plain.id]) == (told.parameters, plain.parameters)
    assert plain.result["digest"] != told.result["digest"]


async def test_the_last_checkpoint_and_the_best_are_kept(trainer: Running, ask: Ask) -> None:
    task = await trained(ask, CONFIG | {"epochs": 5, "seed": 3}, checkpoint_steps=4, model="best")
    assert task.state == "succeeded"
    epochs = [event for event in await trainer.said(EpochCompleted) if event.task_id == task.id]
    assert [event.epoch for event in epochs] == [1, 2, 3, 4, 5]
    accuracies = [event.metrics["validation_accuracy"] for event in epochs]
    best = accuracies.index(max(accuracies)) + 1
    assert task.result["metrics"]["validation_accuracy"] == max(accuracies)
    assert task.result.get("epoch", 5) == best
    steps = await trainer.rows("SELECT role, step FROM task_files WHERE task_id = $1 ORDER BY role", task.id)
    per_epoch = steps[1]["step"] // 5
    assert steps == [{"role": "best", "step": best * per_epoch}, {"role": "checkpoint", "step": 5 * per_epoch}]


async def test_a_training_ends_early_when_nothing_gets_better(trainer: Running, ask: Ask) -> None:
    stopping = {"patience": 2, "min_delta": 0.5, "metric": "validation_accuracy"}
    task = await trained(ask, CONFIG | {"epochs": 30}, early_stopping=stopping)
    epochs = [event for event in await trainer.said(EpochCompleted) if event.task_id == task.id]
    values = [event.metrics["validation_accuracy"] for event in epochs]
    assert (task.state, task.progress) == ("succeeded", 1.0)
    assert 3 <= len(values) < 30
    assert max(values[-2:]) - values[-3] <= 0.5, "the last two were no better than the one before"
    assert task.result["epoch"] == len(values)
    assert [event.task_id for event in await trainer.said(TrainingCompleted)].count(task.id) == 1


async def test_a_metric_that_is_not_measured_is_named(unmeasured: TaskView) -> None:
    assert (unmeasured.state, unmeasured.error_class) == ("failed", "InvalidInput")
    assert "training.early_stopping.metric: validation_f1 is not measured; there are" in unmeasured.error_message
    assert "validation_accuracy" in unmeasured.error_message


async def test_confusions_and_worst_answers_are_shown(ask: Ask, looked_at: TaskView) -> None:
    task = looked_at
    last = await ask(GetInsights(task_id=task.id))
    assert (last.epochs, last.epoch, last.items) == ([2, 4], 4, 270)
    assert last.labels == [str(digit) for digit in range(10)]
    assert sum(map(sum, last.confusion)) == 270
    right = sum(last.confusion[digit][digit] for digit in range(10))
    assert right / 270 == pytest.approx(task.result["metrics"]["validation_accuracy"])
    wrong = sorted((count for row in range(10) for count in cut(last.confusion[row], row)), reverse=True)
    assert [pair.count for pair in last.most_confused] == [count for count in wrong if count][:20]
    losses = [answer.loss for answer in last.worst]
    assert losses == sorted(losses, reverse=True) and len(losses) == 20
    assert last.worst[0].expected != last.worst[0].answered
    assert all(0 <= answer.index < 270 and 0 < answer.confidence <= 1 for answer in last.worst)
    before = await ask(GetInsights(task_id=task.id, epoch=2))
    assert before.epoch == 2 and before.worst != last.worst
    with pytest.raises(NotFound, match="was not looked at after epoch 3; it was after 2, 4") as caught:
        await ask(GetInsights(task_id=task.id, epoch=3))
    assert caught.value.field == "epoch"
    with pytest.raises(NotFound):
        await ask(GetInsights(task_id=STRANGER))


def cut(row: list[int], place: int) -> list[int]:
    return row[:place] + row[place + 1 :]


async def test_a_profile_is_kept_as_a_trace(house: House, looked_at: TaskView, plain: TaskView) -> None:
    file = await house.ask(GetProfile(task_id=looked_at.id))
    content = (house.artifacts / file.digest).read_bytes()
    assert (file.size, file.file_name) == (len(content), f"{looked_at.id}-profile.json.gz")
    names = {event.get("name") for event in json.loads(gzip.decompress(content))["traceEvents"]}
    assert "aten::convolution" in names
    assert len([name for name in names if name and name.startswith("ProfilerStep")]) in (0, 3)
    with pytest.raises(NotFound, match=r"has no profile: ask for one by training\.profile_steps"):
        await house.ask(GetProfile(task_id=plain.id))


async def test_a_training_is_reproduced_and_compared(house: House, told: TaskView) -> None:
    ask, record = house.ask, told.result["record"]
    assert record.keys() >= {"platform_version", "code_version", "seed", "dataset_digest", "environment", "torch"}
    assert record["processor"] and record["cores"] >= 1 and record["gpus"] == []
    accepted = await ask(ReproduceTask(task_id=told.id), idempotency_key="again")
    assert await ask(ReproduceTask(task_id=told.id), idempotency_key="again") == accepted
    second = await ended(ask, accepted.id)
    assert second.parameters == told.parameters
    assert second.result["reproduction"] == {"of": told.id, "same_digest": True, "metrics": {}, "record": {}}
    both = (told.id, second.id)
    completed = [event.task_id for event in await house.trainer.said(TrainingCompleted)]
    assert [task_id for task_id in completed if task_id in both] == [told.id]
    await house.registry.settled()
    registered = [event.task_id for event in await house.registry.said(VersionRegistered)]
    assert [task_id for task_id in registered if task_id in both] == [told.id]


async def test_what_came_out_otherwise_is_told(trainer: Running, ask: Ask, plain: TaskView) -> None:
    changed = plain.result | {"digest": "0" * 64, "metrics": plain.result["metrics"] | {"validation_accuracy": 0.5}}
    changed |= {"record": plain.result["record"] | {"torch": "1.0"}}
    await trainer.rows("UPDATE tasks SET result = $2 WHERE id = $1 RETURNING id", plain.id, changed)
    second = await ended(ask, (await ask(ReproduceTask(task_id=plain.id))).id)
    found = second.result["reproduction"]
    assert found["same_digest"] is False
    accuracy = plain.result["metrics"]["validation_accuracy"]
    assert found["metrics"] == {"validation_accuracy": {"before": 0.5, "now": accuracy}}
    assert found["record"] == {"torch": {"before": "1.0", "now": plain.result["record"]["torch"]}}


async def test_only_a_training_that_succeeded_is_reproduced(trainer: Running, ask: Ask, unmeasured: TaskView) -> None:
    with pytest.raises(NotFound):
        await ask(ReproduceTask(task_id=STRANGER))
    with pytest.raises(Conflict, match="is failed: only a training that succeeded can be reproduced"):
        await ask(ReproduceTask(task_id=unmeasured.id))
    assert [event.task_id for event in await trainer.said(TrainingFailed)] == [unmeasured.id]
