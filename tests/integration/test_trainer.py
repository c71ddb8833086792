"""trainer on real servers beside the real registry: from the request to the model, whatever is killed."""

import random
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.embedded.testing_servers import NatsServer
from services.trainer.app import build
from services.trainer.handlers import HANDLERS
from services.trainer.settings import Settings
from shared.artifacts import digest_of
from shared.commands.trainer import TrainModel
from shared.envelope import Envelope
from shared.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound, Unavailable
from shared.events.models import DatasetRegistered, VersionRegistered
from shared.events.training import (
    EpochCompleted,
    TrainingCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingRequested,
    TrainingStarted,
)
from shared.rpc.curves import GetTaskCurves
from shared.rpc.tasks import CancelTask, GetTask, GetTaskMetrics, TaskView
from shared.rpc.trainer import ListLibrary, SubmitTask
from shared.settings import ServiceSettings
from tests.integration.running import Ask, Running, guarded_bus, running_service, until
from tests.integration.tasks_kit import process_of, settings_with

SEED = 20261124
CONFIG = {"epochs": 3, "channels": 8, "hidden": 16, "seed": 7}
TRAINING_SECONDS = 360.0
FINAL = ("succeeded", "failed", "cancelled")
FORBIDDEN = ("torch", "sklearn", "onnx", "scipy")


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def settings(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> Settings:
    return settings_with(settings_of("trainer"))


async def ended(ask: Ask, task_id: str) -> TaskView:
    """The task once it has ended; its service may be away meanwhile."""

    async def look() -> TaskView | None:
        try:
            task: TaskView = await ask(GetTask(task_id=task_id), service="trainer")
        except (Unavailable, DeadlineExceeded):
            return None
        return task if task.state in FINAL else None

    found: TaskView = await until(look, TRAINING_SECONDS)
    return found


async def test_from_the_request_to_a_version(trainer: Running, registry: Running, ask: Ask, settings: Settings) -> None:
    accepted = await ask(SubmitTask(model="digits-cnn", config=CONFIG), correlation_id="chain-1")
    assert accepted.correlation_id == "chain-1"
    task = await ended(ask, accepted.id)
    assert (task.state, task.progress, task.attempt, task.correlation_id) == ("succeeded", 1.0, 1, "chain-1")
    assert task.parameters["learning_rate"] == 0.002
    assert task.parameters["seed"] == 7
    kinds = (TrainingRequested, TrainingStarted, EpochCompleted, TrainingCompleted)
    requested, started, *epochs, completed = await trainer.said(*kinds)
    assert (requested.seed, requested.parameters) == (7, task.parameters)
    assert (started.attempt, started.resumed_epoch) == (1, 0)
    assert [(epoch.epoch, epoch.epochs) for epoch in epochs] == [(1, 3), (2, 3), (3, 3)]
    assert "validation_accuracy" in epochs[0].metrics
    assert (settings.home_dir.parent / "artifacts" / completed.digest).exists()
    assert completed.signature.inputs[0].shape == (-1, 1, 8, 8)
    assert completed.auto_promote
    await registry.settled()
    datasets = await registry.said(DatasetRegistered)
    assert [dataset.digest for dataset in datasets] == [completed.dataset_digest]

    async def registered() -> list[Any]:
        return await registry.said(VersionRegistered)

    version = (await until(registered))[0]
    assert (version.task_id, version.digest, version.dataset_parts) == (task.id, completed.digest, datasets[0].parts)
    points = (await ask(GetTaskMetrics(task_id=task.id), service="trainer")).points
    assert {point.epoch for point in points} == {1, 2, 3}
    await has_curves(ask, task.id)
    again = await ended(ask, (await ask(SubmitTask(model="digits-cnn", config=CONFIG))).id)
    assert again.result["digest"] == completed.digest
    assert len(await registry.said(DatasetRegistered)) == 1


async def test_requests_are_checked_before_they_are_accepted(trainer: Running, ask: Ask) -> None:
    with pytest.raises(NotFound, match=r"no model 'unknown'; it has .*digits-cnn"):
        await ask(SubmitTask(model="unknown"))
    with pytest.raises(InvalidInput, match=r"^config\.epochs: ") as caught:
        await ask(SubmitTask(model="digits-cnn", config={"epochs": 0}))
    assert caught.value.field == "config.epochs"
    assert await trainer.rows("SELECT 1 FROM tasks") == []


async def test_a_request_with_a_key_is_accepted_once(trainer: Running, ask: Ask) -> None:
    request = SubmitTask(model="digits-cnn", config=CONFIG)
    first = await ask(request, idempotency_key="k1")
    assert await ask(request, idempotency_key="k1") == first
    with pytest.raises(Conflict):
        await ask(SubmitTask(model="digits-cnn"), idempotency_key="k1")
    await ask(CancelTask(task_id=first.id), service="trainer")
    assert (await ended(ask, first.id)).state == "cancelled"
    assert [event.task_id for event in await trainer.said(TrainingCancelled)] == [first.id]
    assert len(await trainer.rows("SELECT 1 FROM tasks")) == 1


async def test_a_command_is_obeyed_once_for_each_request_id(trainer: Running) -> None:
    await command(trainer, TrainModel(request_id="r1", model="digits-cnn", parameters=CONFIG))
    await command(trainer, TrainModel(request_id="r1", model="digits-cnn", parameters=CONFIG))
    await trainer.settled()
    assert len(await trainer.said(TrainingRequested)) == 1
    assert await trainer.dead_letters() == 0
    await command(trainer, TrainModel(request_id="r2", model="unknown"))
    await command(trainer, TrainModel(model="digits-cnn"))
    await trainer.settled()
    assert await trainer.dead_letters() == 2
    assert len(await trainer.rows("SELECT 1 FROM tasks")) == 1


async def command(trainer: Running, order: TrainModel) -> None:
    envelope = Envelope(type=order.type_name(), source="test", subject="test")
    headers = {name: value for name, value in envelope.to_headers().items() if name != "Nats-Msg-Id"}
    stored = await trainer.js.publish(order.subject("default"), order.model_dump_json().encode(), headers=headers)
    trainer.published[stored.stream] = stored.seq


async def test_the_library_is_shown_with_requests_to_try(trainer: Running, ask: Ask) -> None:
    member = next(member for member in (await ask(ListLibrary())).members if member.name == "digits-cnn")
    assert member.config_schema["properties"]["epochs"]["maximum"] == 10_000
    assert member.gate[0] == {"metric": "accuracy", "operator": ">=", "threshold": 0.97}
    assert member.baseline is not None
    assert (member.baseline["metric"], member.baseline["operator"]) == ("accuracy", ">")
    example = member.example["inputs"][0]
    assert (example["name"], example["shape"], len(example["data"])) == ("image", [1, 1, 8, 8], 64)


async def test_a_training_that_cannot_go_on_says_why(trainer: Running, ask: Ask, settings: Settings) -> None:
    first = await ended(ask, (await ask(SubmitTask(model="digits-cnn", config=CONFIG | {"epochs": 1}))).id)
    assert first.state == "succeeded"
    for artifact in (settings.home_dir.parent / "artifacts").iterdir():
        artifact.unlink()
    task = await ended(ask, (await ask(SubmitTask(model="digits-cnn", config=CONFIG))).id)
    assert (task.state, task.error_class) == ("failed", "NotFound")
    assert re.fullmatch(r"artifact [0-9a-f]{64} is not kept", task.error_message)
    failed = (await trainer.said(TrainingFailed))[0]
    assert (failed.task_id, failed.error_message) == (task.id, task.error_message)


async def test_whatever_is_killed_the_model_is_the_same(
    registry: Running, settings: Settings, nats: NatsServer, ask: Ask, tmp_path: Path
) -> None:
    """Checkpoints come in the middle of epochs too; the undisturbed training does without."""
    config = CONFIG | {"epochs": 40}
    log = tmp_path / "trainer.log"
    async with running_service(build(settings), HANDLERS, nats):
        undisturbed = await ended(ask, (await ask(SubmitTask(model="digits-cnn", config=config))).id)
    brief = settings.model_copy(update={"lease_seconds": 2.0})
    with process_of("services.trainer", brief, log) as service:
        first, first_epoch = await killed(ask, service, "service", config)
    with process_of("services.trainer", settings, log) as service:
        await assert_goes_on(registry, await ended(ask, first), undisturbed, first_epoch)
        second, second_epoch = await killed(ask, service, "process", config)
        await assert_goes_on(registry, await ended(ask, second), undisturbed, second_epoch)
        assert not heavy_modules(service.pid)


async def killed(ask: Ask, service: "subprocess.Popen[bytes]", victim: str, config: dict[str, Any]) -> tuple[str, int]:
    """A task whose service or process was killed after a seeded random epoch."""
    task_id = (await until(lambda: submitted(ask, config))).id
    epoch = random.Random(f"{SEED}-{victim}").randint(2, 8)
    await until(lambda: has_reached(ask, task_id, epoch), TRAINING_SECONDS)
    kill(service, victim)
    print(f"killed the {victim} after epoch {epoch}")
    return task_id, epoch


async def assert_goes_on(registry: Running, task: TaskView, undisturbed: TaskView, epoch: int) -> None:
    """The task ended like the undisturbed one, and told each epoch once."""
    assert (task.state, task.result, task.attempt) == ("succeeded", undisturbed.result, 2)
    epochs = [event.epoch for event in await registry.said(EpochCompleted) if event.task_id == task.id]
    assert epochs == list(range(1, 41))
    resumed = [event.resumed_epoch for event in await registry.said(TrainingStarted) if event.task_id == task.id]
    assert resumed[0] == 0
    assert resumed[-1] >= epoch


async def submitted(ask: Ask, config: dict[str, Any]) -> Any:
    try:
        return await ask(SubmitTask(model="digits-cnn", config=config, training={"checkpoint_steps": 7}))
    except (Unavailable, DeadlineExceeded):
        return None


async def has_curves(ask: Ask, task_id: str) -> None:
    """Of each step once, in order, from the first to the last, and of the process."""
    shown = (await ask(GetTaskCurves(task_id=task_id, points=5000), service="trainer")).curves
    found = {(curve.name, curve.per): curve for curve in shown}
    loss = found["train_loss", "step"]
    assert loss.x == [float(step) for step in range(1, loss.count + 1)] and loss.y[-1] < loss.y[0]
    assert found["learning_rate", "step"].count == loss.count == found["train_loss", "epoch"].x[-1]
    assert found["system/threads", "step"].y[0] >= 1


async def has_reached(ask: Ask, task_id: str, epoch: int) -> bool:
    points = (await ask(GetTaskMetrics(task_id=task_id), service="trainer")).points
    return any(point.epoch >= epoch for point in points)


def kill(service: "subprocess.Popen[bytes]", victim: str) -> None:
    if victim == "service":
        service.kill()
        service.wait()
    else:
        psutil.Process(service.pid).children()[0].kill()


def heavy_modules(pid: int) -> list[str]:
    """What a service must leave to the processes of its tasks, as far as its memory tells."""
    libraries = {mapping.path for mapping in psutil.Process(pid).memory_maps()}
    return [path for path in libraries if any(f"/{name}" in path for name in FORBIDDEN)]


async def test_artifacts_are_what_their_names_say_and_old_checkpoints_go(
    trainer: Running, ask: Ask, settings: Settings
) -> None:
    task = await ended(ask, (await ask(SubmitTask(model="digits-cnn", config=CONFIG))).id)
    kept = {path.name: path.read_bytes() for path in (settings.home_dir.parent / "artifacts").iterdir()}
    assert all(digest_of(content) == name for name, content in kept.items())
    checkpoint = (await trainer.rows("SELECT digest FROM task_files"))[0]["digest"]
    assert kept.keys() >= {task.result["digest"], checkpoint}
    assert len(kept) == 5  # three parts of the data set, one checkpoint, one model
