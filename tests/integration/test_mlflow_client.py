"""A stock MLflow client, in an environment of its own: its scripts run unmodified, and what they log shows up here."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from shared.environments import environment
from tests.conftest import fresh_database
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow, pytest.mark.timeout(1800)]
SCRIPTS = Path(__file__).parent / "mlflow_client"
SCRIPT_SECONDS = 240


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("mlflow"), SCRIPTS / "requirements.txt")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    python: Path, postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as started:
            yield started


async def ran(python: Path, whole: Whole, script: str, folder: Path) -> str:
    """The run that a script has made, which was told nothing but MLflow's own two variables."""
    variables = {
        "MLFLOW_TRACKING_URI": f"{whole.http.base_url}/mlflow".replace("//mlflow", "/mlflow"),
        "MLFLOW_TRACKING_TOKEN": whole.http.headers["authorization"].removeprefix("Bearer "),
    }
    given = variables | {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    command = [str(python), str(SCRIPTS / script)]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, env=given, capture_output=True, text=True, timeout=SCRIPT_SECONDS
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.split()[-1]


async def got(whole: Whole, path: str, **params: Any) -> Any:
    reply = await whole.send("GET", path, params=params)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def files(whole: Whole, run_id: str, tmp: str = "") -> list[str]:
    api = "/mlflow/api/2.0/mlflow"
    run = (await got(whole, f"{api}/runs/get", run_id=run_id))["run"]
    (model,) = run["outputs"]["model_outputs"]
    found = await got(whole, f"{api}/logged-models/{model['model_id']}/artifacts/directories")
    return [file["path"] for file in found["files"]]


async def test_scikit_learn_with_autolog(python: Path, whole: Whole, tmp_path: Path) -> None:
    run_id = await ran(python, whole, "sklearn_autolog.py", tmp_path)
    task = await got(whole, f"/api/v1/tasks/{run_id}")
    assert (task["kind"], task["state"], task["note"]) == ("run", "succeeded", "logistic")
    assert (task["parameters"]["C"], task["parameters"]["max_iter"]) == ("0.5", "200")
    assert task["result"]["metrics"]["test_accuracy"] > 0.9
    assert "MLmodel" in await files(whole, run_id)
    listed = (await got(whole, "/api/v1/tasks", kind="run"))["tasks"]
    assert run_id in [each["id"] for each in listed]


async def test_lightning_with_autolog_of_pytorch(python: Path, whole: Whole, tmp_path: Path) -> None:
    run_id = await ran(python, whole, "pytorch_autolog.py", tmp_path)
    task = await got(whole, f"/api/v1/tasks/{run_id}")
    assert task["state"] == "succeeded" and task["parameters"]["epochs"] == "5"
    curve = (await got(whole, f"/api/v1/tasks/{run_id}/curves", names="train_loss_step"))["curves"][0]
    assert curve["count"] > 5 and curve["y"][-1] < curve["y"][0]
    assert "MLmodel" in await files(whole, run_id)
