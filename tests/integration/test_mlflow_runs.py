"""MLflow's protocol over the gateway's HTTP, on a real trainer, PostgreSQL and NATS: as its documents say."""

import json
import math
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from services.gateway.mlflow import artifacts, models, tracking
from services.trainer.runs.job import SilentRuns
from tests.conftest import fresh_database
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
API, FILES = "/mlflow/api/2.0/mlflow", "/mlflow/api/2.0/mlflow-artifacts/artifacts"
NOBODY = "run-01890000-0000-7000-8000-000000000000"

FIELDS = (
    *("name", "tags", "experiment_id", "experiment_name", "experiment_ids", "new_name", "key", "value", "filter"),
    *("order_by", "max_results", "page_token", "view_type", "run_view_type", "run_name", "user_id", "start_time"),
    *("run_id", "status", "end_time", "timestamp", "step", "metrics", "params", "datasets", "models", "model_json"),
    *("metric_key", "path", "model_type", "source_run_id", "model_id", "artifact_directory_path"),
)
NASTY: list[Any] = [None, True, -1, 2**63, 10**30, 1e308, "", "\0", "a\0b", "x" * 600, "..", "'; DROP TABLE runs; --"]
NASTY += [[], [[]], [{}], {}, {"a": {"b": [1]}}, [{"key": "a", "value": "\0"}], [{"key": "a", "value": "NaN"}]]
NASTY += ["\ud800", [{"key": "x" * 251, "value": 1}]]


class Client:
    """What MLflow's own client sends."""

    def __init__(self, whole: Whole) -> None:
        self.whole = whole

    async def get(self, route: str, **params: Any) -> Any:
        reply = await self.whole.send("GET", API + route, params=params)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def post(self, path: str, expect: int = 200, **body: Any) -> Any:
        reply = await self.whole.send("POST", API + path, json=body)
        assert reply.status_code == expect, reply.text
        return reply.json()

    async def run(self, **body: Any) -> str:
        return str((await self.post("/runs/create", **body))["run"]["info"]["run_id"])

    async def task(self, run_id: str, path: str = "", **params: Any) -> Any:
        reply = await self.whole.send("GET", f"/api/v1/tasks/{run_id}{path}", params=params)
        assert reply.status_code == 200, reply.text
        return reply.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Client]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as whole:
            yield Client(whole)


async def test_a_run_is_a_task_with_curves(client: Client) -> None:
    experiment = await client.post("/experiments/create", name="digits", tags=[{"key": "a", "value": "b"}])
    run_id = await client.run(
        experiment_id=experiment["experiment_id"], run_name="first", user_id="ada", start_time=1_700_000_000_000
    )
    task = await client.task(run_id)
    assert (task["kind"], task["state"], task["note"]) == ("run", "running", "first")
    await client.post("/runs/log-parameter", run_id=run_id, key="depth", value="3")
    metrics = [
        {"key": "loss", "value": 1 / (step + 1), "step": step, "timestamp": 1_700_000_000_000 + step}
        for step in range(50)
    ]
    await client.post("/runs/log-batch", run_id=run_id, metrics=metrics, params=[{"key": "width", "value": "8"}])
    await client.post("/runs/log-metric", run_id=run_id, key="gap", value="NaN", step=0, timestamp=5)
    await client.post("/runs/set-tag", run_id=run_id, key="who", value="me")
    run = (await client.get("/runs/get", run_id=run_id, run_uuid=run_id))["run"]
    assert run["data"]["params"] == [{"key": "depth", "value": "3"}, {"key": "width", "value": "8"}]
    assert {"key": "gap", "value": "NaN", "timestamp": 5, "step": 0} in run["data"]["metrics"]
    assert {"key": "loss", "value": 0.02, "timestamp": 1_700_000_000_049, "step": 49} in run["data"]["metrics"]
    history = await client.get("/metrics/get-history", run_id=run_id, metric_key="loss", max_results=20)
    assert len(history["metrics"]) == 20 and history["next_page_token"] == "20"
    rest = await client.get("/metrics/get-history", run_id=run_id, metric_key="loss", page_token="20")
    assert [point["step"] for point in rest["metrics"]] == list(range(20, 50)) and "next_page_token" not in rest
    curve = (await client.task(run_id, "/curves", names="loss", points=10))["curves"][0]
    assert (curve["count"], curve["x"][0], curve["x"][-1], curve["y"][0]) == (50, 0.0, 49.0, 1.0)
    ended = await client.post("/runs/update", run_id=run_id, status="FINISHED", end_time=1_700_000_060_000)
    assert (ended["run_info"]["status"], ended["run_info"]["end_time"]) == ("FINISHED", 1_700_000_060_000)
    task = await client.task(run_id)
    assert (task["state"], task["parameters"]) == ("succeeded", {"depth": "3", "width": "8"})
    assert task["result"]["metrics"]["loss"] == 0.02


async def test_what_is_said_again_is_there_once(client: Client) -> None:
    run_id = await client.run(run_name="old")
    said = [{"key": "loss", "value": 1.5, "step": step, "timestamp": 1000 + step} for step in (1, 2)]
    for _ in range(2):
        await client.post("/runs/log-batch", run_id=run_id, metrics=said)
    await client.post("/runs/log-metric", run_id=run_id, key="loss", value=1.5, step=2, timestamp=2000)
    history = await client.get("/metrics/get-history", run_id=run_id, metric_key="loss")
    assert [(point["step"], point["timestamp"]) for point in history["metrics"]] == [(1, 1001), (2, 1002), (2, 2000)]
    await client.post("/runs/set-tag", run_id=run_id, key="mlflow.runName", value="new")
    for number in (1, 2):
        await client.post("/runs/log-model", run_id=run_id, model_json=f'{{"number": {number}}}')
    run = (await client.get("/runs/get", run_id=run_id))["run"]
    history = {"key": "mlflow.log-model.history", "value": '[{"number": 1}, {"number": 2}]'}
    assert history in run["data"]["tags"]
    assert run["info"]["run_name"] == "new" and {"key": "mlflow.runName", "value": "new"} in run["data"]["tags"]


async def test_runs_are_compared_and_exported(client: Client) -> None:
    runs = [await client.run(run_name=name) for name in ("one", "two")]
    for number, run_id in enumerate(runs):
        params = [{"key": "depth", "value": str(number)}, {"key": "width", "value": "8"}]
        metrics = [{"key": "loss", "value": number + step, "step": step} for step in range(20)]
        await client.post("/runs/log-batch", run_id=run_id, params=params, metrics=metrics)
    await client.post("/runs/update", run_id=runs[0], status="FINISHED")
    reply = await client.whole.send("GET", "/api/v1/tasks/compare", params={"ids": ",".join(runs), "points": 8})
    found = reply.json()
    assert [task["note"] for task in found["tasks"]] == ["one", "two"]
    assert (found["parameters"], found["same"]) == ({"depth": {runs[0]: "0", runs[1]: "1"}}, {"width": "8"})
    assert found["metrics"]["loss"] == {runs[0]: 19.0, runs[1]: 20.0}
    assert [len(found["curves"]["loss"][run_id]["x"]) <= 8 for run_id in runs] == [True, True]
    for kind, beginning in (("parquet", b"PAR1"), ("tensorboard", b"")):
        reply = await client.whole.send("GET", f"/api/v1/tasks/{runs[0]}/export", params={"format": kind})
        assert reply.status_code == 200 and reply.content.startswith(beginning)
        assert runs[0] in reply.headers["content-disposition"]
    for ids, status in ((runs[0], 422), ("x,y", 422), (f"{runs[0]},{NOBODY}", 404)):
        reply = await client.whole.send("GET", "/api/v1/tasks/compare", params={"ids": ids})
        assert reply.status_code == status, reply.text


async def test_runs_are_searched(client: Client) -> None:
    mine = (await client.post("/experiments/create", name="searched"))["experiment_id"]
    runs = [
        await client.run(experiment_id=mine, run_name=f"r{number}", start_time=1000 + number) for number in range(4)
    ]
    for number, run_id in enumerate(runs):
        await client.post(
            "/runs/log-batch",
            run_id=run_id,
            metrics=[{"key": "val acc", "value": number / 10, "step": 1, "timestamp": 1}],
            params=[{"key": "kind", "value": "even" if number % 2 == 0 else "odd"}],
            tags=[{"key": "n", "value": str(number)}],
        )
    await client.post("/runs/update", run_id=runs[3], status="FAILED")

    async def found(filter_: str = "", **body: Any) -> list[str]:
        page = await client.post("/runs/search", experiment_ids=[mine], filter=filter_, **body)
        return [run["info"]["run_name"] for run in page.get("runs", [])]

    assert await found() == ["r3", "r2", "r1", "r0"]
    assert await found("metrics.`val acc` >= 0.1 AND params.kind = 'odd'") == ["r3", "r1"]
    assert await found("params.kind = 'even'", order_by=["metrics.`val acc` ASC"]) == ["r0", "r2"]
    assert await found("attributes.status = 'FAILED'") == ["r3"]
    assert await found("tags.n IN ('1', '2')", order_by=["tags.n DESC"]) == ["r2", "r1"]
    assert await found("attributes.run_name LIKE 'r%' AND tags.none IS NULL AND start_time < 1002") == ["r1", "r0"]
    await client.post("/runs/delete", run_id=runs[0])
    assert await found() == ["r3", "r2", "r1"]
    assert await found(run_view_type="DELETED_ONLY") == ["r0"]
    page = await client.post("/runs/search", experiment_ids=[mine], max_results=2)
    rest = await client.post("/runs/search", experiment_ids=[mine], page_token=page["next_page_token"])
    assert len(page["runs"]) == 2 and [run["info"]["run_name"] for run in rest["runs"]] == ["r1"]


async def test_experiments_are_found_changed_and_searched(client: Client) -> None:
    assert (await client.get("/experiments/get", experiment_id="0"))["experiment"]["name"] == "Default"
    made = (await client.post("/experiments/create", name="weather"))["experiment_id"]
    taken = await client.post("/experiments/create", expect=400, name="weather")
    assert taken["error_code"] == "RESOURCE_ALREADY_EXISTS"
    await client.post("/experiments/set-experiment-tag", experiment_id=made, key="team", value="blue")
    await client.post("/experiments/update", experiment_id=made, new_name="rain")
    named = (await client.get("/experiments/get-by-name", experiment_name="rain"))["experiment"]
    assert (named["experiment_id"], named["tags"]) == (made, [{"key": "team", "value": "blue"}])
    page = await client.post("/experiments/search", max_results=10, filter="tags.team = 'blue'")
    assert [found["name"] for found in page["experiments"]] == ["rain"]
    await client.post("/experiments/delete", experiment_id=made)
    page = await client.get("/experiments/search", view_type="DELETED_ONLY")
    assert [found["name"] for found in page["experiments"]] == ["rain"]


async def test_files_of_a_run_and_its_model(client: Client) -> None:
    run_id = await client.run()
    root = f"0/{run_id}/artifacts"
    whole = client.whole
    for path, content in ((f"{root}/a.txt", b"hello"), (f"{root}/deep/er/b.bin", b"\0" * 9), (f"{root}/empty", b"")):
        assert (await whole.send("PUT", f"{FILES}/{path}", content=content)).status_code == 200
    assert (await whole.send("GET", f"{FILES}/{root}/deep/er/b.bin")).content == b"\0" * 9
    listed = (await whole.send("GET", FILES, params={"path": root})).json()["files"]
    assert listed == [
        {"path": "a.txt", "is_dir": False, "file_size": 5},
        {"path": "deep", "is_dir": True},
        {"path": "empty", "is_dir": False, "file_size": 0},
    ]
    below = await client.get("/artifacts/list", run_id=run_id, path="deep")
    assert below["files"] == [{"path": "deep/er", "is_dir": True}]
    made = (await client.post("/logged-models", name="m", source_run_id=run_id, params=[{"key": "a", "value": "1"}]))[
        "model"
    ]
    model_id = made["info"]["model_id"]
    uri = made["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    assert (await whole.send("PUT", f"{FILES}/{uri}/MLmodel", content=b"flavors: {}")).status_code == 200
    reply = await whole.send("PATCH", f"{API}/logged-models/{model_id}", json={"status": "LOGGED_MODEL_READY"})
    assert reply.json()["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    await client.post("/runs/outputs", run_id=run_id, models=[{"model_id": model_id, "step": 0}])
    await client.post("/runs/log-batch", run_id=run_id, metrics=[{"key": "f1", "value": 0.5, "model_id": model_id}])
    found = await client.post("/logged-models/search", experiment_ids=["0"], filter="metrics.f1 > 0.4 AND name = 'm'")
    assert found["models"][0]["data"]["metrics"][0]["key"] == "f1"
    run = (await client.get("/runs/get", run_id=run_id))["run"]
    assert run["outputs"]["model_outputs"] == [{"model_id": model_id, "step": 0}]
    assert (await whole.send("DELETE", f"{FILES}/{root}/deep")).status_code == 200
    assert (await whole.send("GET", f"{FILES}/{root}/deep/er/b.bin")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", f"/runs/get?run_id={NOBODY}", None, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", "/runs/get", None, "INVALID_PARAMETER_VALUE"),
        ("GET", "/nothing", None, "ENDPOINT_NOT_FOUND"),
        ("POST", "/runs/create", {"experiment_id": "999"}, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "/runs/create", {"start_time": -1}, "INVALID_PARAMETER_VALUE"),
        ("POST", "/runs/search", {"experiment_ids": ["0"], "filter": "metrics."}, "INVALID_PARAMETER_VALUE"),
        ("POST", "/runs/search", {"experiment_ids": ["0"], "filter": "attributes.x = 'y'"}, "INVALID_PARAMETER_VALUE"),
        ("POST", "/runs/log-metric", {"run_id": NOBODY, "key": "a", "value": 1}, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "/runs/log-metric", {"run_id": NOBODY, "key": "a\0", "value": 1}, "INVALID_PARAMETER_VALUE"),
        ("POST", "/runs/log-metric", {"run_id": NOBODY, "key": "a", "value": "much"}, "INVALID_PARAMETER_VALUE"),
        ("POST", "/experiments/create", {"name": ""}, "INVALID_PARAMETER_VALUE"),
        ("POST", "/experiments/create", b'{"name": "a\\ud800"}', "INVALID_PARAMETER_VALUE"),
        ("POST", "/experiments/create", b"{", "INVALID_PARAMETER_VALUE"),
        ("PATCH", "/logged-models/m-0", {"status": "DONE"}, "INVALID_PARAMETER_VALUE"),
    ],
)
async def test_bad_input_is_told_in_the_words_of_the_protocol(
    client: Client, method: str, path: str, body: Any, code: str
) -> None:
    given = {"content": body} if isinstance(body, bytes) else {"json": body}
    reply = await client.whole.send(method, API + path, **given, headers={"Content-Type": "application/json"})
    assert reply.json()["error_code"] == code and reply.json()["message"], reply.text
    assert 400 <= reply.status_code < 500


async def test_files_lie_nowhere_else(client: Client) -> None:
    for path in ("x", f"0/{NOBODY}/artifacts/a", f"0/{NOBODY}/artifacts/%2e%2e/a", f"0/{NOBODY}/a"):
        reply = await client.whole.send("PUT", f"{FILES}/{path}", content=b"x")
        assert reply.status_code in (400, 404, 422), reply.text


async def test_a_cancelled_run_tells_its_client(client: Client) -> None:
    run_id = await client.run()
    assert (await client.whole.send("POST", f"/api/v1/tasks/{run_id}/pause")).status_code == 409
    assert (await client.whole.send("POST", f"/api/v1/tasks/{run_id}/cancel")).json()["state"] == "cancelled"
    refused = await client.post("/runs/log-metric", expect=400, run_id=run_id, key="loss", value=1)
    assert refused["error_code"] == "INVALID_STATE"
    ended = await client.post("/runs/update", run_id=run_id, status="FAILED")
    assert ended["run_info"]["status"] == "KILLED"


async def test_a_run_whose_client_is_silent_is_given_up(client: Client) -> None:
    run_id, other = await client.run(), await client.run()
    trainer = client.whole.services["trainer"]
    assert trainer.database and trainer.relay
    async with trainer.database.connection() as connection:
        await connection.execute("UPDATE runs SET heard_at = now() - interval '2 hours' WHERE task_id = $1", run_id)
    await SilentRuns(trainer.database, trainer.relay, 3600).sweep()
    task = await client.task(run_id)
    assert (task["state"], task["error_class"]) == ("failed", "RunLost")
    assert (await client.task(other))["state"] == "running"
    await client.post("/runs/log-metric", run_id=run_id, key="late", value=math.pi)
    assert (await client.get("/runs/get", run_id=run_id))["run"]["info"]["status"] == "FAILED"


async def test_nothing_that_is_sent_makes_it_fail(client: Client) -> None:
    """Every field of the protocol with every nasty value, at every route: refused or taken, never a crash."""
    run_id = await client.run()
    good = {"run_id": run_id, "experiment_id": "0", "experiment_ids": ["0"], "status": "RUNNING"}
    for routes in (tracking.ROUTES, models.ROUTES, artifacts.ROUTES):
        for template, _, options in routes.declared:
            path = re.sub(r"\{[^}]+\}", "m-" + "0" * 32, template)
            for value in NASTY:
                for body in (dict.fromkeys(FIELDS, value), dict.fromkeys(FIELDS, value) | good):
                    (method,) = options["methods"]
                    given = {"params": _texts(body)} if method == "GET" else {"content": json.dumps(body).encode()}
                    headers = {"Content-Type": "application/json"}
                    reply = await client.whole.http.request(method, path, headers=headers, **given)
                    assert reply.status_code < 500, f"{method} {path} {body} -> {reply.text}"


def _texts(body: dict[str, Any]) -> dict[str, str]:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()}
    return {name: text.encode(errors="replace").decode() for name, text in texts.items()}
