"""A canary pickle in every costume through every route that takes a file or a body: refused, never loaded, not kept."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.tasks.scratch import LOCK
from tests.house import House, until
from tests.security.costumes import COSTUMES, FEW, dressed

ENDED = ("succeeded", "failed", "cancelled")
KINDS = ("application/octet-stream", "application/x-onnx", "application/x-python-pickle")
# A table of text may hold any text; it is given to the model as text.
IS_A_TABLE = {"csv", "json", "parquet", "base64", "a data URL", "yaml"}
BODIES = (
    ("POST", "/api/v1/tasks"),
    ("POST", "/api/v1/api-keys"),
    ("POST", "/login"),
    ("POST", "/api/v1/indexes/canary"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v2/models/digits-cnn/infer"),
    ("POST", "/api/v1/models/digits-cnn/predict"),
    ("POST", "/mlflow/api/2.0/mlflow/runs/create"),
)


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "loaded"
    assert not (tmp_path / "loaded").exists()


def post(house: House, path: str, content: bytes, number: int = 0, **params: Any) -> httpx.Response:
    headers = {"Content-Type": KINDS[number % len(KINDS)], "Content-Disposition": 'attachment; filename="model.onnx"'}
    return house.http.post(path, content=content, params=params, headers=headers)


def slow(*given: Any) -> Any:
    return pytest.param(*given, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("kind", "costumes"),
    [("versions", COSTUMES), ("imports", FEW), slow("imports", COSTUMES)],
    ids=["versions", "imports", "all imports"],
)
def test_no_model_is_a_pickle(house: House, sentinel: Path, kind: str, costumes: Iterable[str]) -> None:
    for number, costume in enumerate(costumes):
        refused = post(house, f"/api/v1/models/canary/{kind}", dressed(costume, sentinel), number)
        assert refused.status_code == 422, (costume, refused.text)
    assert house.http.get("/api/v1/models/canary").status_code == 404


@pytest.mark.parametrize(
    ("path", "params", "costumes"),
    [
        ("/api/v1/datasets/canary", {"like": "digits"}, COSTUMES),
        ("/api/v1/models/digits-cnn/batches", {}, FEW),
        slow("/api/v1/models/digits-cnn/batches", {}, COSTUMES),
    ],
)
def test_no_rows_are_a_pickle(
    house: House, champion: int, sentinel: Path, path: str, params: dict[str, str], costumes: Iterable[str]
) -> None:
    tasks = {}
    for number, costume in enumerate(costumes):
        accepted = post(house, path, dressed(costume, sentinel), number, **params)
        if accepted.status_code == 202:
            tasks[costume] = accepted.json()["id"]
        else:
            assert 400 <= accepted.status_code < 500, (costume, accepted.text)
    for costume, task_id in tasks.items():
        task = house.wait_task(task_id)
        assert (task["state"], task["error_class"]) == ("failed", "Unfit"), (costume, task)


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_no_body_is_a_pickle(house: House, sentinel: Path, method: str, path: str) -> None:
    for number, costume in enumerate(COSTUMES):
        content = dressed(costume, sentinel)
        headers = {"Content-Type": KINDS[number % len(KINDS)]}
        refused = house.http.request(method, path, content=content, headers=headers)
        assert 400 <= refused.status_code < 500, (costume, refused.status_code, refused.text)


def test_a_file_of_a_run_is_kept_as_it_is_and_opened_by_nobody(house: House, sentinel: Path) -> None:
    experiment = house.http.post("/mlflow/api/2.0/mlflow/experiments/create", json={"name": "canaries"}).json()
    run = house.http.post(
        "/mlflow/api/2.0/mlflow/runs/create", json={"experiment_id": experiment["experiment_id"]}
    ).json()
    root = run["run"]["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/").strip("/")
    content = dressed("plain", sentinel)
    path = f"/mlflow/api/2.0/mlflow-artifacts/artifacts/{root}/model.pkl"
    assert house.http.put(path, content=content).status_code == 200
    assert house.http.get(path).content == content


def test_staging_folders_are_empty_afterwards(house: House) -> None:
    home = Path(house.stack.home.path)

    def staged() -> bool:
        folders = [folder for folder in home.rglob("files") if folder.is_dir() and "artifacts" not in folder.parts]
        return all(path.name == LOCK for folder in folders for path in folder.iterdir())

    assert until(staged, what="staging folders to be empty")
