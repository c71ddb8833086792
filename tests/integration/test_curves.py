"""Series and records of tasks on a real PostgreSQL and NATS: once each, cut where an attempt goes on, and bounded."""

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from deploy.embedded.testing_servers import NatsServer
from shared.artifacts import Artifacts
from shared.errors import InvalidInput, NotFound
from shared.rpc.curves import CurvesView, ExportTask, GetTaskCurves, GetTaskRecord, ListTaskRecords
from shared.series import records, store, writer
from shared.series.columns import Columns
from shared.settings import ServiceSettings
from tests.integration.running import asking, guarded_bus, running_service
from tests.integration.task_child import PNG
from tests.integration.task_service import HANDLERS, build
from tests.integration.tasks_kit import Tasks, children, settings_with

MILLION = 1_000_000


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def tasks(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Tasks]:
    service = build(settings_with(settings_of("trainer")))
    async with running_service(service, HANDLERS, nats) as running:
        yield Tasks(running)


async def curves(nats: NatsServer, task_id: str, **asked: Any) -> CurvesView:
    async with asking(nats) as ask:
        found: CurvesView = await ask(GetTaskCurves(task_id=task_id, **asked), service="trainer")
        return found


async def test_steps_epochs_and_the_process_are_curves(tasks: Tasks, nats: NatsServer) -> None:
    task_id = await tasks.submit(points=10)
    await tasks.ended(task_id)
    shown = await curves(nats, task_id)
    found = {(curve.name, curve.per): curve for curve in shown.curves}
    assert {("train_loss", "step"), ("loss", "epoch"), ("system/memory", "step")} <= set(found)
    loss = found["train_loss", "step"]
    assert (loss.count, loss.x, loss.y[9:11]) == (30, [float(n) for n in range(1, 31)], [1.0, 0.5])
    assert (found["gap", "step"].count, found["gap", "step"].not_finite) == (0, 30)
    assert found["loss", "epoch"].x == [10.0, 20.0, 30.0]
    assert found["system/memory", "step"].y[0] > 1_000_000
    assert not any(curve.name.startswith("system/") for curve in (await curves(nats, task_id, axis="epoch")).curves)
    by_epoch = await curves(nats, task_id, names=["train_loss", "loss"], axis="epoch", least=2.0)
    assert [(c.x[0], c.x[-1], c.count) for c in by_epoch.curves] == [(2.0, 3.0, 11), (2.0, 3.0, 2)]
    by_time = await curves(nats, task_id, names=["train_loss"], axis="time", greatest=time.time() + 3600)
    assert by_time.curves[0].count == 30 and abs(by_time.curves[0].x[0] - time.time()) < 3600
    with pytest.raises(NotFound):
        await curves(nats, "train-none")


async def test_a_resumed_attempt_replaces_what_came_after(tasks: Tasks, nats: NatsServer) -> None:
    task_id = await tasks.submit(steps=4, points=10, stay=2)
    await tasks.runs(task_id, step=2)
    async with tasks.running.service.relay.work(tasks.context) as work:  # type: ignore[union-attr]
        ahead = Columns.of(range(21, 35), [0.0] * 14, [99.0] * 14)
        await store.append(work.tx, task_id, 1, "train_loss", ahead)
    children()[0].kill()
    assert (await tasks.ended(task_id))["fence"] == 2
    loss = (await curves(nats, task_id, names=["train_loss"])).curves[0]
    assert loss.x == [float(n) for n in range(1, 41)] and max(loss.y) == 1.0


async def test_a_commit_whose_answer_was_lost_adds_nothing_twice(tasks: Tasks, nats: NatsServer) -> None:
    task_id = await tasks.submit(steps=0)
    await tasks.ended(task_id)
    part = Columns.of([1, 2, 3], [0.0] * 3, [1.0, 2.0, 3.0])
    async with tasks.running.service.relay.work(tasks.context) as work:  # type: ignore[union-attr]
        for said in (0, 0, 3, 3):
            await store.append(work.tx, task_id, 1, "loss", part, said=said)
    assert (await curves(nats, task_id, names=["loss"])).curves[0].count == 6


async def test_a_million_points_are_a_curve_in_no_time(tasks: Tasks, nats: NatsServer) -> None:
    """The time is told in docs/curves.md; a test has no place for it."""
    task_id = await tasks.submit(steps=0)
    await tasks.ended(task_id)
    values = np.random.default_rng(0).normal(size=MILLION)
    values[654_321] = 77.0
    async with tasks.running.service.relay.work(tasks.context) as work:  # type: ignore[union-attr]
        for start in range(0, MILLION, 5000):
            steps = np.arange(start, start + 5000)
            part = Columns.of(steps, steps / 10, values[start : start + 5000])  # type: ignore[arg-type]
            await store.append(work.tx, task_id, 1, "loss", part)
    for axis in ("step", "time"):
        began = time.perf_counter()
        shown = (await curves(nats, task_id, names=["loss"], axis=axis)).curves[0]
        print(f"{axis}: {1000 * (time.perf_counter() - began):.0f} ms")
        assert (shown.count, max(shown.y)) == (MILLION, 77.0)
        assert 400 < len(shown.x) <= 500
    part = (await curves(nats, task_id, names=["loss"], least=654_000, greatest=654_400)).curves[0]
    assert part.count == 401 and part.x[0] == 654_000


async def test_a_task_is_exported(tasks: Tasks, nats: NatsServer, tmp_path: Path) -> None:
    task_id = await tasks.submit(points=10)
    await tasks.ended(task_id)
    artifacts = Artifacts(tasks.running.service.settings.artifacts_url)
    async with asking(nats) as ask:
        made = await ask(ExportTask(task_id=task_id, format="parquet"), service="trainer")
        table = pq.read_table(await artifacts.get_file(made.digest, tmp_path / made.file_name)).to_pydict()
        steps = [
            (step, value)
            for step, value, name in zip(table["step"], table["value"], table["name"], strict=True)
            if name == "train_loss"
        ]
        assert steps == [(n, 1 / ((n + 9) // 10)) for n in range(1, 31)]
        assert {"step", "epoch"} == set(table["per"]) and len(table["time"]) == len(table["per"])
        made = await ask(ExportTask(task_id=task_id, format="tensorboard"), service="trainer")
    content = await artifacts.get(made.digest)
    assert made.size == len(content) and content.count(b"train_loss") == 30 and b"epoch/loss" in content


async def test_a_task_has_not_more_series_than_the_limit(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SERIES_MOST", 1)
    monkeypatch.setattr(writer, "SAMPLE_SECONDS", math.inf)
    row = await tasks.ended(await tasks.submit(points=2))
    assert row["error_message"].endswith("a task has at most 1 series")


async def test_records_are_kept_listed_and_shown(tasks: Tasks, nats: NatsServer) -> None:
    task_id = await tasks.submit(records=["histogram", "image"])
    await tasks.ended(task_id)
    async with asking(nats) as ask:
        listed = (await ask(ListTaskRecords(task_id=task_id, kind="image"), service="trainer")).records
        assert [(line.name, line.step) for line in listed] == [("shown/image", step) for step in (1, 2, 3)]
        last = await ask(GetTaskRecord(task_id=task_id, name="shown/histogram"), service="trainer")
        assert (last.step, last.body) == (3, {"value": 3})
        image = await ask(GetTaskRecord(task_id=task_id, name="shown/image", step=1), service="trainer")
        assert (image.media, image.size) == ("image/png", len(PNG))
        with pytest.raises(NotFound):
            await ask(GetTaskRecord(task_id=task_id, name="shown/image", step=9), service="trainer")
    (row,) = await tasks.running.rows("SELECT DISTINCT digest FROM task_records WHERE digest IS NOT NULL")
    assert row["digest"] == image.digest


async def test_records_have_limits(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RECORDS_MOST", 2)
    row = await tasks.ended(await tasks.submit(records=["text"]))
    assert row["error_class"] == InvalidInput.__name__ and row["error_message"] == "a task has at most 2 records"
