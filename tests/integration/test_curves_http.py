"""Curves and records over the gateway's HTTP, and what is another project's: not there at all."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from shared.artifacts import Artifacts
from shared.context import Context
from shared.errors import NotFound
from shared.rpc import curves, runs
from shared.rpc.artifacts import ListReferences
from shared.rpc.base import Request
from shared.series import records
from shared.worker import Record
from tests.conftest import fresh_database
from tests.integration.task_child import PNG
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as started:
            yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run_id(whole: Whole) -> str:
    api = "/mlflow/api/2.0/mlflow"
    run = str((await whole.send("POST", f"{api}/runs/create", json={})).json()["run"]["info"]["run_id"])
    metrics = [{"key": "loss", "value": 1.0, "step": step, "timestamp": step} for step in range(100)]
    reply = await whole.send("POST", f"{api}/runs/log-batch", json={"run_id": run, "metrics": metrics})
    assert reply.status_code == 200
    return run


async def test_records_are_shown_as_what_they_are(whole: Whole, run_id: str) -> None:
    trainer = whole.services["trainer"]
    assert trainer.relay
    artifacts = Artifacts(trainer.settings.artifacts_url)
    table = Record(kind="table", name="confusion/test", step=3, body={"rows": [[1, 2]]})
    long = Record(kind="text", name="long", body={"text": "x" * records.BODY_BYTES})
    image = Record(kind="image", name="worst", file="worst.png")
    path = trainer.settings.home_dir / "worst.png"
    path.write_bytes(PNG)
    given = [await records.kept(table, None, artifacts), await records.kept(long, None, artifacts)]
    given.append(await records.kept(image, path, artifacts))
    async with trainer.relay.work(Context()) as work:
        for each in given:
            await records.save(work.tx, run_id, 0, each)
    root = f"/api/v1/tasks/{run_id}/records"
    listed = (await whole.send("GET", root)).json()["records"]
    assert [(line["name"], line["step"], line["kind"]) for line in listed] == [
        ("confusion/test", 3, "table"),
        ("long", 0, "text"),
        ("worst", 0, "image"),
    ]
    assert (await whole.send("GET", f"{root}/content?name=confusion/test")).json() == {"rows": [[1, 2]]}
    assert len((await whole.send("GET", f"{root}/content?name=long&step=0")).json()["text"]) == records.BODY_BYTES
    shown = await whole.send("GET", f"{root}/content?name=worst")
    assert (shown.content, shown.headers["content-type"]) == (PNG, "image/png")
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert (await whole.send("GET", f"{root}/content?name=none")).status_code == 404
    for service in ("trainer", "inference", "evaluator"):
        named = await whole.services["registry"].bus.ask(ListReferences(), Context(), service=service)
        assert set(named.digests) == ({given[1].digest, given[2].digest} if service == "trainer" else set())


@pytest.mark.parametrize(
    "query",
    ["points=7", "points=5001", "x=weeks", "from=nan", "to=far", f"names={','.join(map(str, range(65)))}"],
)
async def test_what_is_no_curve_is_told(whole: Whole, run_id: str, query: str) -> None:
    reply = await whole.send("GET", f"/api/v1/tasks/{run_id}/curves?{query}")
    assert reply.status_code == 422 and reply.json()["field"] == query.partition("=")[0]


async def test_a_part_of_a_curve_is_shown(whole: Whole, run_id: str) -> None:
    reply = await whole.send("GET", f"/api/v1/tasks/{run_id}/curves?names=loss,none&points=10&from=10&to=19.5")
    (curve,) = reply.json()["curves"]
    assert (curve["count"], curve["x"]) == (10, [float(step) for step in range(10, 20)])


async def test_another_project_finds_nothing(whole: Whole, run_id: str) -> None:
    model = await asked(whole, runs.CreateLoggedModel(run=run_id), "default")
    path = f"0/{run_id}/artifacts/a.txt"
    await asked(whole, runs.KeepRunFile(path=path, digest="0" * 64, size=1), "default")
    orders: list[Request[Any]] = [
        curves.GetTaskCurves(task_id=run_id),
        curves.ExportTask(task_id=run_id, format="parquet"),
        curves.ListTaskRecords(task_id=run_id),
        curves.GetTaskRecord(task_id=run_id, name="worst"),
        runs.FindRun(id=run_id),
        runs.ChangeRun(id=run_id, name="mine"),
        runs.LogRun(id=run_id, tags={"a": "b"}),
        runs.GetHistory(id=run_id, name="loss"),
        runs.FindRunFile(path=path),
        runs.KeepRunFile(path=path, digest="1" * 64, size=1),
        runs.CreateLoggedModel(run=run_id),
        runs.FindLoggedModel(id=model.id),
        runs.ChangeLoggedModel(id=model.id, lifecycle="deleted"),
    ]
    for order in orders:
        with pytest.raises(NotFound):
            await asked(whole, order, "other")
    assert (await asked(whole, runs.ListRunFiles(path=f"0/{run_id}/artifacts"), "other")).files == []
    await asked(whole, runs.DropRunFiles(path=path), "other")
    assert (await asked(whole, runs.SearchRuns(experiments=["0"]), "other")).runs == []
    assert (await asked(whole, runs.SearchLoggedModels(experiments=["0"]), "other")).models == []
    assert (await asked(whole, runs.FindRunFile(path=path), "default")).digest == "0" * 64


async def asked(whole: Whole, order: "Request[Any]", project: str) -> Any:
    """What the gateway would ask for somebody of a project."""
    context = Context(project=project, actor="somebody")
    return await whole.services["gateway"].bus.ask(order, context, service="trainer")
