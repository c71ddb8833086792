"""Batches over HTTP: files and data sets through the champion, whole, in order, once, whatever dies meanwhile."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import aimass
import httpx
import numpy as np
import psutil
import pyarrow as arrow
import pytest
from numpy.typing import NDArray
from pyarrow import parquet

from tests.e2e.test_uploads import bring as bring_model
from tests.e2e.test_uploads import deployment, made, put_champion, staged
from tests.house import House, until
from tests.integration import onnx_models

Array = NDArray[Any]
CLOSE = 1e-6
MANY = 60_000
FORMATS = ("csv", "jsonl", "npz", "parquet")


@pytest.fixture(scope="module")
def images() -> Array:
    from library.base import Part
    from library.data.digits import Digits

    return Digits().parts()[Part.TEST]["image"]


@pytest.fixture(scope="module")
def answers(house: House, champion: int, images: Array) -> Array:
    """What single calls answer."""
    found = []
    for image in images:
        tensor = {"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": image.ravel().tolist()}
        answer = house.http.post("/v2/models/digits-cnn/infer", json={"inputs": [tensor]})
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["outputs"][0]["data"])
    return np.array(found)


def npz(**arrays: Array) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def as_file(format_: str, images: Array) -> bytes:
    """The images as a file of this format: an array, a column for each pixel, or nested lists."""
    out = io.BytesIO()
    if format_ == "npz":
        return npz(image=images)
    if format_ == "parquet":
        columns = {f"image.{pixel}": column for pixel, column in enumerate(images.reshape(len(images), -1).T)}
        parquet.write_table(arrow.table(columns), out)
    elif format_ == "jsonl":
        out.write("".join(json.dumps({"image": image.tolist()}) + "\n" for image in images).encode())
    else:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["name", *(f"pixel {pixel}" for pixel in range(64))])
        writer.writerows([f"image, {row}", *image.ravel().tolist()] for row, image in enumerate(images))
        out.write(text.getvalue().encode())
    return out.getvalue()


def probabilities(format_: str, content: bytes) -> Array:
    if format_ == "npz":
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found: Array = arrays["probabilities"]
            return found
    if format_ == "parquet":
        return np.array(parquet.read_table(io.BytesIO(content)).column("probabilities").to_pylist())
    if format_ == "jsonl":
        return np.array([json.loads(line)["probabilities"] for line in content.splitlines()])
    records = list(csv.DictReader(io.StringIO(content.decode())))
    return np.array([[float(record[f"probabilities.{digit}"]) for digit in range(10)] for record in records])


def submit(
    house: House, content: bytes = b"", model: str = "digits-cnn", key: str = "", **params: Any
) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    path = f"/api/v1/models/{model}/batches"
    return house.http.post(path, content=content, params=params, headers=headers, timeout=60)


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


def test_a_data_set_equals_single_calls(house: House, answers: Array) -> None:
    task_id = accepted(submit(house, dataset="digits"))
    response = result(house, task_id)
    np.testing.assert_allclose(probabilities("npz", response.content), answers, rtol=CLOSE)
    assert response.headers["content-disposition"].endswith(f'{task_id}.npz"')
    task = house.task(task_id)
    assert (task["kind"], task["progress"], task["result"]["rows"]) == ("batch", 1, len(answers))
    assert task["parameters"]["dataset"] == "digits"
    listed = until(lambda: [each for each in house.get("tasks", kind="batch")["tasks"] if each["id"] == task_id])
    assert listed[0]["model"] == "digits-cnn"
    lines = [line["line"] for line in house.get(f"tasks/{task_id}/logs")["lines"]]
    assert f"read {len(answers)} rows of npz" in lines


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_of_each_format_equals_single_calls(house: House, images: Array, answers: Array, format_: str) -> None:
    response = result(house, accepted(submit(house, as_file(format_, images))))
    np.testing.assert_allclose(probabilities(format_, response.content), answers, rtol=CLOSE)


@pytest.mark.parametrize("output", FORMATS)
def test_a_result_comes_in_the_format_that_was_asked_for(
    house: House, images: Array, answers: Array, champion: int, output: str
) -> None:
    content = as_file("csv", images)
    response = result(house, accepted(submit(house, content, version=champion, format="csv", output=output)))
    np.testing.assert_allclose(probabilities(output, response.content), answers, rtol=CLOSE)


def many(images: Array, seed: int) -> tuple[Array, Array]:
    """A great many rows, in an order of their own: the images, and which of the test set each is."""
    order = np.random.default_rng(seed).integers(0, len(images), MANY)
    return images[order], order


def answered_rows(house: House, task_id: str) -> int:
    rows = house.rows("inference", f"SELECT max(step) AS rows FROM task_files WHERE task_id = '{task_id}'")
    return int(rows[0]["rows"] or 0)


def test_a_killed_service_loses_and_doubles_no_row(house: House, images: Array, answers: Array) -> None:
    rows, order = many(images, 1)
    task_id = accepted(submit(house, npz(image=rows)))
    until(lambda: answered_rows(house, task_id) > MANY // 10, what="rows to be answered")
    house.stack.kill("inference")
    response = result(house, task_id)
    found = probabilities("npz", response.content)
    np.testing.assert_allclose(found, answers[order], rtol=1e-5, atol=1e-9)
    assert house.task(task_id)["attempt"] > 1
    assert answered_rows(house, task_id) == 0
    lines = [line["line"] for line in house.get(f"tasks/{task_id}/logs")["lines"]]
    assert [line for line in lines if "goes on after row" in line]


def processes(house: House, module: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(house.stack.pid("inference")).children():
        try:
            if module in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.parametrize("module", ["reading", "writing"])
def test_a_killed_process_loses_and_doubles_no_row(house: House, images: Array, answers: Array, module: str) -> None:
    rows, order = many(images, 2)
    task_id = accepted(submit(house, as_file("csv", rows), output="csv"))
    (process, *_) = until(lambda: processes(house, f"services.inference.batch.{module}"), what="the process")
    process.kill()
    response = result(house, task_id)
    np.testing.assert_allclose(probabilities("csv", response.content), answers[order], rtol=1e-5, atol=1e-9)
    assert house.task(task_id)["attempt"] > 1


def test_a_batch_is_cancelled(house: House, images: Array, champion: int) -> None:
    rows, _ = many(images, 3)
    task_id = accepted(submit(house, npz(image=rows)))
    until(lambda: answered_rows(house, task_id), what="rows to be answered")
    early = house.http.get(f"/api/v1/tasks/{task_id}/result")
    assert (early.status_code, "running" in early.json()["detail"]) == (409, True)
    assert house.http.post(f"/api/v1/tasks/{task_id}/cancel").status_code == 200
    assert house.wait_task(task_id)["state"] == "cancelled"
    assert house.http.get(f"/api/v1/tasks/{task_id}/result").status_code == 409


BAD: dict[str, tuple[bytes, str]] = {
    "csv": (b"name,p\n" + b"a,1\n" * 9, "1 columns of numbers"),
    "line": (
        b",".join(b"p%d" % pixel for pixel in range(64))
        + b"\n"
        + b",".join([b"1"] * 64)
        + b"\n"
        + b",".join([b"1"] * 63)
        + b",dark\n",
        "line 3, column 'p63'",
    ),
    "json": (b'{"image": [1, 2]}\n', "holds [2] a row"),
    "npz": (npz(picture=np.zeros((1, 8, 8)), other=np.zeros(1)), "no array 'image'"),
    "parquet": (b"PAR1" + bytes(90), "no Parquet file"),
    "pickle": (b"\x80\x04K\x01.", "a pickle"),
    "npy": (b"\x93NUMPY", "np.savez"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_does_not_fit_says_where_and_why(house: House, champion: int, case: str) -> None:
    content, message = BAD[case]
    task = house.wait_task(accepted(submit(house, content)))
    assert (task["state"], task["error_class"]) == ("failed", "Unfit")
    assert message in task["error_message"]
    assert task["attempt"] == 1


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no file": ({}, 422, "body"),
    "no such model": ({"model": "nothing", "dataset": "digits"}, 404, "model"),
    "no such version": ({"dataset": "digits", "version": 999}, 404, "version"),
    "no such alias": ({"dataset": "digits", "alias": "nobody"}, 404, "alias"),
    "two versions": ({"dataset": "digits", "alias": "champion", "version": 1}, 422, "alias"),
    "no such data set": ({"dataset": "nothing"}, 404, "name"),
    "no such part": ({"dataset": "digits", "part": "rest"}, 422, "part"),
    "two inputs": ({"dataset": "digits", "content": b"x"}, 422, "dataset"),
    "no such format": ({"content": b"x", "format": "xls"}, 422, "format"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_run_is_refused_at_once(house: House, champion: int, case: str) -> None:
    given, status, field = REFUSED[case]
    response = submit(house, **given)
    assert (response.status_code, response.json()["field"]) == (status, field), response.text


def test_one_key_is_one_batch(house: House, images: Array, champion: int) -> None:
    content = as_file("csv", images[:3])
    first, again = (accepted(submit(house, content, key="batch-once")) for _ in range(2))
    assert first == again
    assert submit(house, content, key="batch-once", output="npz").status_code == 409
    assert result(house, first).text.count("\n") == 4


def test_an_alias_names_the_version(house: House, images: Array, champion: int) -> None:
    path = "/api/v1/models/digits-cnn/aliases/nightly"
    assert house.http.put(path, json={"version": champion}).status_code == 200
    task_id = accepted(submit(house, as_file("npz", images[:3]), alias="nightly"))
    assert house.task(task_id)["parameters"] | {"input": ""} == {"version": champion, "alias": "nightly", "input": ""}
    result(house, task_id)


def test_a_viewer_reads_results_and_submits_nothing(house: House, images: Array, champion: int) -> None:
    task_id = accepted(submit(house, as_file("npz", images[:3])))
    result(house, task_id)
    key = house.http.post("/api/v1/api-keys", json={"name": "looker", "roles": ["viewer"]}).json()["secret"]
    viewer = until(lambda: (c := house.client(key)).get("/api/v1/models").status_code == 200 and c)
    assert viewer.get(f"/api/v1/tasks/{task_id}/result").status_code == 200
    assert viewer.post("/api/v1/models/digits-cnn/batches", content=b"x").status_code == 403


def test_a_version_stays_while_a_batch_asks_it(house: House) -> None:
    made(bring_model(house, "echo", onnx_models.slow(400, 40).onnx))
    staged(house, "echo", 1)
    assert put_champion(house, "echo", 1, force=True, reason="first").status_code == 200
    until(lambda: deployment(house, "echo", 1)["state"] == "serving", what="the first to serve")
    made(bring_model(house, "echo", onnx_models.doubled(-1, 1).onnx))
    staged(house, "echo", 2)
    rows = np.arange(4000, dtype="<f4").reshape(-1, 1)
    task_id = accepted(submit(house, npz(x=rows), model="echo"))
    assert put_champion(house, "echo", 2, force=True, reason="second").status_code == 200
    until(lambda: deployment(house, "echo", 2)["state"] == "serving", what="the second to serve")
    assert house.task(task_id)["state"] in ("queued", "running"), "the batch ended too early to prove anything"
    assert deployment(house, "echo", 1)["state"] == "draining"
    with np.load(io.BytesIO(result(house, task_id).content)) as arrays:
        np.testing.assert_array_equal(arrays["y"], rows)
    until(lambda: deployment(house, "echo", 1)["state"] == "unstaged", what="the first to go")


def test_a_row_that_the_model_refuses_is_named(house: House) -> None:
    made(bring_model(house, "table", onnx_models.lookup().onnx))
    staged(house, "table", 1)
    rows = np.zeros((200, 1), "<i8")
    rows[150] = 10
    task = house.wait_task(accepted(submit(house, npz(index=rows), model="table", version=1)))
    assert (task["state"], task["error_class"]) == ("failed", "RowsRefused")
    assert task["error_message"].startswith("row 151: ")


def test_large_rows_travel_through_the_store(house: House, tmp_path: Path) -> None:
    side = 700  # 2 MB a row, beyond a message of the bus
    made(bring_model(house, "large-rows", onnx_models.doubled(-1, side, side).onnx))
    staged(house, "large-rows", 1)
    rows = np.random.default_rng(5).normal(size=(4, side, side)).astype("<f4")
    task_id = accepted(submit(house, npz(x=rows), model="large-rows", version=1))
    with np.load(io.BytesIO(result(house, task_id).content)) as arrays:
        np.testing.assert_array_equal(arrays["y"], 2 * rows)


def test_the_client_does_all_of_it(house: House, images: Array, answers: Array, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(as_file("csv", images))
    with aimass.Client(house.stack.info["gateway"], house.key) as client:
        tasks = [
            client.batch("digits-cnn", file, output="npz"),
            client.batch("digits-cnn", dataset="digits", part="test"),
        ]
        for task in tasks:
            *_, ended = client.watch(task["id"])
            assert ended["state"] == "succeeded", ended["error_message"]
            path = client.batch_result(task["id"], tmp_path / "result.npz")
            np.testing.assert_allclose(probabilities("npz", path.read_bytes()), answers, rtol=CLOSE)
        with pytest.raises(aimass.ApiError) as refused:
            client.batch("nothing", file)
        assert refused.value.status == 404
