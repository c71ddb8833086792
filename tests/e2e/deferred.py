"""Requests that are answered later, as a client sends them and looks for their answers."""

import json
from typing import Any

import httpx
import numpy as np
import pytest
from aimass import arrays

from shared.oip import HEADER_LENGTH
from tests.e2e.test_uploads import bring, made, staged
from tests.house import House, until
from tests.integration import onnx_models

MODEL = "later"
PATH = f"/v2/models/{MODEL}/versions/1/infer"
PREFER = {"Prefer": "respond-async"}
JSON_BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2.5, -3]}]}).encode()
Body = tuple[bytes, dict[str, str]]


def binary(size: int) -> Body:
    array = np.random.default_rng(size).normal(size=(1, size)).astype(np.float32)
    return arrays.encode({"x": array}, ["y"])


def bring_model(house: House) -> None:
    if house.http.get(f"/v2/models/{MODEL}/versions/1/ready").status_code != 200:
        brought = bring(house, MODEL, onnx_models.doubled(-1, -1).onnx)
        if brought.status_code != httpx.codes.CONFLICT:  # it is there, and not ready while Triton starts again
            made(brought)
        staged(house, MODEL, 1)


def defer(house: House, body: bytes = JSON_BODY, path: str = PATH, **headers: str) -> httpx.Response:
    """One that is accepted; what stands in for a hyphen is an underscore."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return house.http.post(path, content=body, headers=PREFER | given)


def accepted(response: httpx.Response) -> str:
    """Where to look."""
    assert response.status_code == 202, response.text
    assert response.headers["preference-applied"] == "respond-async"
    assert response.headers["location"] == f"/api/v1/inferences/{response.json()['id']}"
    return response.headers["location"]


def ended(house: House, location: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        response = house.http.get(location)
        if response.status_code in (502, 503, 504):
            return None
        assert response.status_code == 200, response.text
        return response.json() if response.json()["state"] in ("done", "failed", "cancelled") else None

    return until(found, what=f"the end of {location}")


def result(house: House, location: str) -> httpx.Response:
    ended(house, location)
    return house.http.get(f"{location}/result")


def told(response: httpx.Response) -> tuple[Any, ...]:
    """All of an answer that does not say which prediction it is."""
    header_length = response.headers.get(HEADER_LENGTH)
    size = int(header_length) if header_length else len(response.content)
    document = json.loads(response.content[:size])
    document.get("parameters", {}).pop("prediction_id", None)
    kept = {name: response.headers.get(name) for name in ("content-type", "content-encoding", HEADER_LENGTH)}
    return response.status_code, kept, document, response.content[size:]


def facts(house: House, inference_id: str) -> list[str]:
    """What the timeline says of one request, in order."""
    rows = house.rows(
        "monitor",
        f"SELECT type FROM timeline WHERE type LIKE 'aimass.inference.%' AND data->>'inference_id' = '{inference_id}' ORDER BY at",  # noqa: E501
    )
    return [row["type"].rpartition(".")[2] for row in rows]


def check_once(house: House, location: str) -> None:
    """It is answered, its answer is the only one that is kept, and it is announced once."""
    inference_id = location.rpartition("/")[2]
    answer = result(house, location)
    assert answer.status_code == 200, answer.text
    until(lambda: "InferenceCompleted" in facts(house, inference_id), what="the announcement")
    assert facts(house, inference_id) == ["InferenceCompleted"]
    [row] = house.rows("inference", f"SELECT fence, state FROM inferences WHERE id = '{inference_id}'")
    kept = bodies(house, inference_id)[f"{row['fence']}-answer"]
    assert (row["state"], kept) == ("done", answer.content)


def bodies(house: House, inference_id: str) -> dict[str, bytes]:
    """What lies in the object store of one request; after a kill there may be more than is needed, for an hour."""
    prefix = inference_id.replace("-", "")
    folder = house.stack.home.folder("artifacts") / "deferred"
    return {path.name.removeprefix(f"{prefix}-"): path.read_bytes() for path in folder.glob(f"{prefix}*")}


@pytest.fixture(scope="module")
def later(house: House) -> House:
    """The stack with a model that doubles rows of any length."""
    bring_model(house)
    return house
