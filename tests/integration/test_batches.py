"""Batches in inference on a real bus that knows its allow-lists; who answers the data plane is a neighbour."""

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats as nats_client
import numpy as np
import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from services.inference import store
from services.inference.batch import store as batches
from services.inference.batch.caller import Caller
from services.inference.batch.job import BatchJob
from services.inference.batch.reading import Limits, ReadingSpec
from services.inference.domain import Deployment, Routing
from services.inference.handlers import HANDLERS
from services.inference.parts import Parts
from services.inference.settings import Settings
from shared.artifacts import Artifacts
from shared.body_store import BodyStore
from shared.context import Context
from shared.errors import Conflict, InvalidInput, NotFound, QuotaUsedUp
from shared.events.common import Signature, TaskState, TensorSpec
from shared.events.tasks import TaskChanged
from shared.rpc.artifacts import ListReferences
from shared.rpc.inference import GetBatchResult, SubmitBatch
from shared.rpc.registry import GetModel, ModelView
from shared.rpc.tasks import CancelTask, GetTask
from shared.rpc.usage import CheckTaskQuota, TaskVerdict
from shared.service import Service
from shared.settings import ServiceSettings
from shared.tasks.process import task_process
from shared.tasks.runner import TaskRunner
from shared.worker import Failure, Progress
from tests.conftest import DatabaseUrls
from tests.integration.onnx_models import doubled
from tests.integration.running import Ask, Running, asking, guarded_bus, running_service, until
from tests.integration.served_models import DataPlane, data_plane, linear
from tests.integration.trainer_desk import desk

MODEL = "digits-cnn"
WEIGHTS = np.random.default_rng(1).normal(size=(64, 10))
LINEAR = linear(WEIGHTS)
IMAGES = np.random.default_rng(2).normal(size=(300, 1, 8, 8)).astype("<f4")


class House:
    """Inference with one version deployed, the data plane that answers for it, and whoever asks."""

    def __init__(self, running: Running, plane: DataPlane, ask: Ask, artifacts: Artifacts, settings: Settings) -> None:
        self.running, self.plane, self._ask = running, plane, ask
        self.artifacts, self.settings = artifacts, settings

    async def ask(self, request: Any, **context: Any) -> Any:
        return await self._ask(request, service="inference", **context)

    async def bring(self, **arrays: Any) -> str:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return await self.artifacts.put(buffer.getvalue())

    async def deploy(self, version: int, state: str = "serving", signature: Signature = LINEAR.signature) -> None:
        relay = self.running.service.relay
        assert relay
        deployment = Deployment("default", MODEL, version, "0" * 64, signature, "loading")
        async with relay.work(Context()) as work:
            await store.insert(work.tx, deployment)
            await store.set_state(work.tx, deployment, state)

    async def submit(self, digest: str, version: int = 1, **given: Any) -> str:
        found = await self.ask(SubmitBatch(model=MODEL, digest=digest, version=version, **given))
        return str(found.id)

    async def reached(self, task_id: str, *states: str) -> Any:
        async def look() -> Any:
            task = await self.ask(GetTask(task_id=task_id))
            return task if task.state in states else None

        return await until(look)

    async def ended(self, task_id: str) -> Any:
        return await self.reached(task_id, "succeeded", "failed", "cancelled")

    async def result(self, task_id: str) -> Any:
        task = await self.ended(task_id)
        assert task.state == "succeeded", task.error_message
        found = await self.ask(GetBatchResult(task_id=task_id))
        return io.BytesIO(await self.artifacts.get(found.digest))

    async def references(self) -> list[str]:
        return list((await self.ask(ListReferences())).digests)


@pytest_asyncio.fixture
async def house(
    database_urls: DatabaseUrls, settings_of: Callable[[str], ServiceSettings], tmp_path: Path
) -> AsyncIterator[House]:
    with guarded_bus(tmp_path / "bus", HANDLERS) as server:
        given = settings_of("inference").model_dump() | {"nats_url": server.servers}
        settings = Settings(**given, batch_part_rows=64, batch_patience_seconds=1, batch_keep_days=1, lease_seconds=60)
        service = Service("inference", settings)
        runner = TaskRunner(service, settings, desk(settings_of))
        bodies = BodyStore(settings.artifacts_url, settings.home_dir)
        runner.add(BatchJob(Caller(service.bus, bodies, settings), settings))
        nobody: Any = None
        within = (nobody, nobody, runner, nobody, service.bus, settings, nobody)
        parts = Parts(Routing(), nobody, nobody, nobody, *within)
        service.handle(HANDLERS, parts)
        service.add_loop("tasks", runner.run)
        service.add_closing(runner.drain)
        async with (
            running_service(service, HANDLERS, server) as running,
            data_plane(server.url) as plane,
            asking(server) as ask,
        ):
            plane.serve(1, LINEAR)
            house = House(running, plane, ask, Artifacts(settings.artifacts_url), settings)
            await house.deploy(1)
            yield house


def expected() -> Any:
    scores = np.exp(IMAGES.reshape(len(IMAGES), -1) @ WEIGHTS.astype("<f4"))
    return scores / scores.sum(axis=1, keepdims=True)


async def test_rows_are_asked_as_any_caller_asks_them(house: House) -> None:
    task_id = await house.submit(await house.bring(image=IMAGES))
    with np.load(await house.result(task_id)) as arrays:
        np.testing.assert_allclose(arrays["probabilities"], expected(), rtol=1e-4)
    assert {(request.version, request.credential, request.flags) for request in house.plane.asked} == {("1", "ada", 0)}
    assert house.plane.most_together <= house.settings.batch_concurrency
    said = [event.state for event in await house.running.said(TaskChanged) if event.task_id == task_id]
    assert said[-1] is TaskState.SUCCEEDED


async def test_a_model_of_another_project_is_asked_in_the_name_of_who_asks(house: House) -> None:
    """Its owner keeps the version for as long as the batch goes on, and says which one an alias means."""
    told = RegistryTells(house)
    async with told.to_who_asks():
        order = SubmitBatch(model=f"default.{MODEL}", digest=await house.bring(image=IMAGES[:3]), alias="old")
        house.plane.permits = asyncio.Semaphore(0)
        task_id = (await house.ask(order, project="blue")).id
        assert await told.is_in_use()
        house.plane.let_go()
    task = await until(lambda: told.ended(task_id))
    assert (task.state, task.model) == ("succeeded", order.model)
    assert {request.credential for request in house.plane.asked} == {"blue/ada"}
    assert (told.projects, await told.is_in_use()) == (["default"], False)
    with pytest.raises(NotFound):
        await house.ask(GetTask(task_id=task_id))


class RegistryTells:
    """Stands where the registry is, and looks at what a version of the project `default` is held by."""

    def __init__(self, house: House) -> None:
        self.house, self.projects = house, list[str]()

    @asynccontextmanager
    async def to_who_asks(self) -> AsyncIterator[None]:
        connection = await nats_client.connect(self.house.running.server.url)

        async def tell(message: Msg) -> None:
            self.projects.append(Context.from_headers(message.headers or {}).project)
            assert GetModel.model_validate_json(message.data).model == MODEL
            await message.respond(
                ModelView(project="default", name=MODEL, aliases={"old": 1}).model_dump_json().encode()
            )

        await connection.subscribe(GetModel.subject(), cb=tell)
        await connection.flush()
        yield
        await connection.close()

    async def is_in_use(self) -> bool:
        database = self.house.running.service.database
        assert database
        async with database.connection() as connection:
            return await batches.in_use(connection, "default", MODEL, 1)

    async def ended(self, task_id: str) -> Any:
        task = await self.house.ask(GetTask(task_id=task_id), project="blue")
        return task if task.state in ("succeeded", "failed") else None


async def test_a_busy_version_is_waited_for(house: House) -> None:
    house.plane.moods = [503, 429, 504, 503]
    with np.load(await house.result(await house.submit(await house.bring(image=IMAGES)))) as arrays:
        np.testing.assert_allclose(arrays["probabilities"], expected(), rtol=1e-4)


async def test_a_version_that_is_gone_ends_the_batch(house: House) -> None:
    await house.deploy(2)
    task = await house.ended(await house.submit(await house.bring(image=IMAGES), version=2))
    assert (task.state, task.error_class) == ("failed", "NotServed")
    assert task.error_message == f"version 2 of '{MODEL}' is not served: answered with 404"


async def test_a_batch_goes_on_where_another_attempt_ended(house: House) -> None:
    """The version stays away for longer than an attempt waits."""
    house.plane.moods = [200, 200, *[503] * 1000]
    task_id = await house.submit(await house.bring(image=IMAGES))
    await until(lambda: house.running.rows("SELECT FROM task_files WHERE step = 128"))
    await house.reached(task_id, "queued")
    house.plane.moods = []
    before = {request.prediction_id for request in house.plane.asked}
    with np.load(await house.result(task_id)) as arrays:
        np.testing.assert_allclose(arrays["probabilities"], expected(), rtol=1e-4)
    again = [request for request in house.plane.asked if request.prediction_id not in before]
    assert len(again) <= (len(IMAGES) - 128) // 64 + 2
    assert await house.running.rows("SELECT FROM task_files") == []


async def test_the_version_that_serves_is_asked_where_none_is_named(house: House) -> None:
    digest = await house.bring(image=IMAGES)
    with pytest.raises(NotFound, match="no promoted version yet"):
        await house.ask(SubmitBatch(model=MODEL, digest=digest))
    await house.running.rows("INSERT INTO routes VALUES ('default', $1, 1, 1, 1, 1, '{}')", MODEL)
    task = await house.ask(SubmitBatch(model=MODEL, digest=digest))
    assert (await house.ask(GetTask(task_id=task.id))).parameters == {"version": 1, "input": digest}


@pytest.mark.parametrize("state", ["draining", "unstaged", "failed"])
async def test_a_version_on_its_way_out_takes_no_batch(house: House, state: str) -> None:
    await house.deploy(7, state)
    with pytest.raises(NotFound, match="version 7 .* is not deployed"):
        await house.submit(await house.bring(image=IMAGES), version=7)


async def test_a_model_without_rows_takes_no_batch(house: House) -> None:
    await house.deploy(8, signature=doubled(1, 3).signature)
    with pytest.raises(InvalidInput, match="no free first axis"):
        await house.submit(await house.bring(x=np.zeros((1, 3))), version=8)


async def test_others_see_nothing_of_it(house: House) -> None:
    digest = await house.bring(image=IMAGES)
    task_id = await house.submit(digest)
    await house.ended(task_id)
    for request in (GetTask, CancelTask, GetBatchResult):
        with pytest.raises(NotFound):
            await house.ask(request(task_id=task_id), project="other")
    with pytest.raises(NotFound):
        await house.ask(SubmitBatch(model=MODEL, digest=digest, version=1), project="other")


async def test_what_a_batch_needs_is_named_as_long_as_it_does(house: House) -> None:
    house.plane.permits = asyncio.Semaphore(2)
    digest = await house.bring(image=IMAGES)
    task_id = await house.submit(digest)
    await until(lambda: house.running.rows("SELECT FROM task_files WHERE step = 128"))
    parts = [row["digest"] for row in await house.running.rows("SELECT digest FROM task_files")]
    assert {digest, *parts} <= set(await house.references())
    house.plane.let_go()
    await house.ended(task_id)
    result = (await house.ask(GetBatchResult(task_id=task_id))).digest
    named = await house.references()
    assert result in named
    assert not {digest, *parts} & set(named)
    kept = {each.digest async for each in house.artifacts.kept()}
    assert not set(parts) & kept
    await house.running.rows("UPDATE tasks SET ended_at = ended_at - interval '25 hours'")
    assert result not in await house.references()
    with pytest.raises(NotFound, match="kept for 1 days"):
        await house.ask(GetBatchResult(task_id=task_id))


async def test_a_cancelled_batch_has_no_result(house: House) -> None:
    house.plane.permits = asyncio.Semaphore(1)
    task_id = await house.submit(await house.bring(image=IMAGES))
    await until(lambda: house.running.rows("SELECT FROM task_files"))
    await house.ask(CancelTask(task_id=task_id))
    assert (await house.ended(task_id)).state == "cancelled"
    with pytest.raises(Conflict, match="the batch is cancelled"):
        await house.ask(GetBatchResult(task_id=task_id))


async def test_progress_is_told_in_rows(house: House) -> None:
    house.plane.permits = asyncio.Semaphore(2)
    task_id = await house.submit(await house.bring(image=IMAGES))

    async def moving() -> Any:
        task = await house.ask(GetTask(task_id=task_id))
        return task if 0.05 < task.progress < 1 else None

    task = await until(moving)
    assert task.note.endswith("of 300 rows")
    assert task.seconds_left is not None


SPEC = Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1,)),))


async def read(folder: Path, content: bytes, **limits: int) -> Any:
    """How the reading process ends."""
    folder.mkdir()
    (folder / "input").write_bytes(content)
    given = Limits(**({"memory": 2**30, "cpu_seconds": 60, "rows": 10**9, "bytes": 2**40} | limits))
    spec = ReadingSpec(file="input", format=None, signature=SPEC, part_rows=1024, skip=0, limits=given)

    async def log(_: str, line: str) -> None:
        print(line)

    async with task_process("services.inference.batch.reading", spec, folder, log) as process:
        while isinstance(report := await process.next_report(), Progress):
            pass
        return report


async def test_a_file_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    line = json.dumps({"x": [[0]] * 4_000_000}).encode()
    report = await read(tmp_path / "work", line + b"\n", memory=300 * 2**20)
    assert isinstance(report, Failure)
    assert (report.error, "300 MiB of memory" in report.message) == ("Unfit", True), report.message


async def test_a_file_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    content = b"x,y\n" + b"1,2\n" * 30_000_000
    report = await read(tmp_path / "work", content, cpu_seconds=2)
    assert isinstance(report, Failure)
    assert (report.error, "more than 2 s" in report.message) == ("Unfit", True), report.message


async def test_parquet_is_read_within_the_limits(tmp_path: Path) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(arrow.table({"x": np.arange(3_000_000, dtype="<f4")}), out)
    report = await read(tmp_path / "work", out.getvalue())
    assert report.data == {"format": "parquet", "rows": 3_000_000}
    bomb = io.BytesIO()
    parquet.write_table(arrow.table({"x": np.zeros(50_000_000, "i1")}), bomb)
    assert len(bomb.getvalue()) < 2**20
    refused = await read(tmp_path / "bomb", bomb.getvalue(), rows=10**6)
    assert (refused.error, "more than 1000000 rows" in refused.message) == ("Unfit", True)


async def test_a_reading_process_has_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "INFERENCE_NATS_PASSWORD", "secret")
    (tmp_path / "work").mkdir()

    async def log(_: str, __: str) -> None:
        return

    async with task_process("services.inference.batch.reading", {}, tmp_path / "work", log) as process:
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert b"INFERENCE" not in environment
    assert b"secret" not in environment


async def test_who_has_used_a_quota_up_submits_no_batch_but_his_pipelines_go_on(house: House) -> None:
    connection = await nats_client.connect(house.running.server.url)
    verdict = TaskVerdict(allowed=False, reason="the quota 'concurrent_tasks' of this project is used up")
    asked: list[str] = []

    async def refuse(message: Msg) -> None:
        asked.append(CheckTaskQuota.model_validate_json(message.data).kind)
        await message.respond(verdict.model_dump_json().encode())

    await connection.subscribe(CheckTaskQuota.subject(), cb=refuse)
    await connection.flush()
    digest = await house.bring(image=IMAGES[:2])
    with pytest.raises(QuotaUsedUp, match="concurrent_tasks"):
        await house.submit(digest)
    await house.submit(digest, pipeline_id="pipeline-1")
    assert asked == ["batch"]
    await connection.close()
