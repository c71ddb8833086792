"""Batches over HTTP: files and data sets through the champion, whole, in order, once, whatever dies meanwhile."""

import io
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.house import House

CLOSE = 1e-6


def pixels() -> NDArray[Any]:
    from library.data.digits import Digits

    found: NDArray[Any] = Digits().parts()["test"]["image"]  # type: ignore[index]
    return found


def npz(**arrays: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def submit(house: House, content: bytes = b"", model: str = "digits-cnn", **params: Any) -> httpx.Response:
    return house.http.post(f"/api/v1/models/{model}/batches", content=content, params=params)


def accepted(response: httpx.Response) -> str:
    assert response.status_code == 202, response.text
    task_id = str(response.json()["id"])
    assert response.headers["location"] == f"/api/v1/tasks/{task_id}"
    return task_id


def result(house: House, task_id: str) -> httpx.Response:
    task = house.wait_task(task_id)
    assert task["state"] == "succeeded", (task["error_class"], task["error_message"], task["failure"])
    response = house.http.get(f"/api/v1/tasks/{task_id}/result")
    assert response.status_code == 200, response.text
    return response


def one_by_one(house: House, images: NDArray[Any]) -> NDArray[Any]:
    found = []
    for image in images:
        tensor = {"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": image.ravel().tolist()}
        answer = house.http.post("/v2/models/digits-cnn/infer", json={"inputs": [tensor]})
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["outputs"][0]["data"])
    return np.array(found)


def test_a_data_set_through_the_champion_equals_single_calls(house: House, champion: int) -> None:
    task_id = accepted(submit(house, dataset="digits"))
    response = result(house, task_id)
    with np.load(io.BytesIO(response.content), allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["probabilities"], one_by_one(house, pixels()), rtol=CLOSE)
