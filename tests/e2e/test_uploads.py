"""A model brought over HTTP: checked, staged, evaluated where a data set fits, by force alone where none does."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import Any

import aimass
import httpx
import numpy as np
import pytest

from tests.house import House, until
from tests.integration import onnx_models

MODELS = "/api/v1/models"


def bring(house: House, model: str, content: bytes, kind: str = "versions", **params: Any) -> httpx.Response:
    return house.http.post(f"{MODELS}/{model}/{kind}", content=content, params=params, timeout=60)


def made(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 201, response.text
    version: dict[str, Any] = response.json()
    assert response.headers["location"] == f"{MODELS}/{version['model']}/versions/{version['version']}"
    return version


def deployment(house: House, model: str, version: int) -> dict[str, Any]:
    found = house.get("deployments", model=model)["deployments"]
    return next((each for each in found if each["version"] == version), {})


def staged(house: House, model: str, version: int) -> None:
    until(lambda: deployment(house, model, version).get("state") in ("staged", "serving"), what="the version staged")


def put_champion(house: House, model: str, version: int, **body: Any) -> httpx.Response:
    return house.http.put(f"{MODELS}/{model}/aliases/champion", json={"version": version, **body})


def infer(house: House, model: str, rows: int = 2) -> httpx.Response:
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 4], "data": np.ones(rows * 4).tolist()}
    return house.http.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]})


def events(house: House, kind: str, model: str) -> list[dict[str, Any]]:
    rows = house.rows("monitor", "SELECT type, data FROM timeline ORDER BY at")
    return [row["data"] for row in rows if row["type"].endswith(f".{kind}") and row["data"].get("model") == model]


def test_a_model_without_a_data_set_serves_by_force_alone(house: House) -> None:
    version = made(bring(house, "affine", onnx_models.affine().onnx, summary="four to three"))
    assert (version["version"], version["source"], version["dataset"]) == (1, "upload", "")
    assert version["signature"] == onnx_models.affine().signature.model_dump(mode="json")
    staged(house, "affine", 1)
    assert house.get("evaluations", model="affine")["evaluations"] == []

    refused = put_champion(house, "affine", 1)
    assert (refused.status_code, refused.json()["field"]) == (409, "version")
    unexplained = put_champion(house, "affine", 1, force=True)
    assert (unexplained.status_code, unexplained.json()["field"]) == (422, "reason")
    key = house.http.post("/api/v1/api-keys", json={"name": "engineer", "roles": ["engineer"]}).json()["secret"]
    engineer = until(lambda: (c := house.client(key)).get(MODELS).status_code == 200 and c)
    forbidden = engineer.put(
        f"{MODELS}/affine/aliases/champion", json={"version": 1, "force": True, "reason": "because"}
    )
    assert forbidden.status_code == 403
    assert "models:force" in forbidden.text
    assert put_champion(house, "affine", 1, force=True, reason="measured elsewhere").status_code == 200

    until(lambda: infer(house, "affine").status_code == 200, what="the forced champion to answer")
    said = until(lambda: events(house, "VersionPromoted", "affine"))
    assert [(event["forced"], event["reason"]) for event in said] == [(True, "measured elsewhere")]


def test_a_model_is_evaluated_on_the_data_set_that_it_fits(house: House, champion: int) -> None:
    content = exported(house, "digits-cnn", champion)
    model = zipfile.ZipFile(BytesIO(content)).read("model.onnx")
    twin = bring(house, "digits-cnn", model)
    assert (twin.status_code, twin.json()["field"]) == (409, "file")
    version = made(bring(house, "brought-digits", model, dataset="digits", auto_promote=True))
    assert (version["dataset"], len(version["labels"])) == ("digits", 10)
    assert version["gate"]
    evaluation = until(lambda: house.get("evaluations", model="brought-digits")["evaluations"], what="an evaluation")
    until(lambda: deployment(house, "brought-digits", 1).get("state") == "serving", what="the promotion")
    assert evaluation[0]["version"] == 1
    said = events(house, "VersionPromoted", "brought-digits")
    assert [(event["forced"], event["version"]) for event in said] == [(False, 1)]


def exported(house: House, model: str, version: int) -> bytes:
    response = house.http.get(f"{MODELS}/{model}/versions/{version}/export", timeout=60)
    assert response.status_code == 200, response.text
    return response.content


def test_a_version_travels_as_one_file(house: House, champion: int) -> None:
    content = exported(house, "digits-cnn", champion)
    manifest = json.loads(zipfile.ZipFile(BytesIO(content)).read("manifest.json"))
    original = house.get(f"models/digits-cnn/versions/{champion}")
    assert manifest["files"]["model.onnx"]["sha256"] == original["digest"]
    version = made(bring(house, "travelled", content, "imports"))
    kept = ("digest", "task_type", "dataset", "dataset_digest", "parameters", "metrics", "labels", "gate", "card")
    assert {name: version[name] for name in kept} == {name: original[name] for name in kept}
    assert version["source"] == "import"
    altered = bytearray(content)
    altered[content.index(b"model.onnx", content.index(b"model.onnx") + 200) + 200] ^= 1
    refused = bring(house, "travelled", bytes(altered), "imports")
    assert (refused.status_code, refused.json()["field"]) == (422, "file")


REFUSED: dict[str, tuple[bytes, dict[str, Any], int, str]] = {
    "empty": (b"", {}, 422, "body"),
    "pickle": (b"\x80\x04K\x01.", {}, 422, "file"),
    "unknown data set": (onnx_models.doubled(-1, 3).onnx, {"dataset": "nothing"}, 422, "dataset"),
    "hostile data set": (onnx_models.doubled(-1, 3).onnx, {"dataset": "a.>*"}, 422, "dataset"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_served_is_refused_and_names_the_field(house: House, case: str) -> None:
    content, params, status, field = REFUSED[case]
    response = bring(house, "refused", content, **params)
    assert (response.status_code, response.json()["field"]) == (status, field), response.text
    assert house.http.get(f"{MODELS}/refused").status_code == 404


def test_a_data_set_that_does_not_fit_is_refused(house: House, champion: int) -> None:
    response = bring(house, "refused", onnx_models.doubled(-1, 3).onnx, dataset="digits")
    assert (response.status_code, response.json()["field"]) == (422, "dataset")
    assert "it takes 'x' FP32 [-1, 3], version" in response.json()["detail"]


def test_too_large_is_refused_before_it_is_read(house: House) -> None:
    host, _, port = house.address.partition(":")
    with closing(HTTPConnection(host, int(port), timeout=60)) as connection:
        connection.putrequest("POST", f"{MODELS}/large/versions")
        connection.putheader("Authorization", f"Bearer {house.key}")
        connection.putheader("Content-Length", str(2**40))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_too_large_without_a_length_is_refused_on_the_way(house: House) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield bytes(1024 * 1024)

    try:
        status = house.http.post(f"{MODELS}/large/versions", content=endless(), timeout=60).status_code
    except httpx.WriteError:
        status = 413  # the connection was closed after the answer, which the client did not wait for
    assert status == 413
    assert house.http.get(f"{MODELS}/large").status_code == 404


def test_one_key_is_one_version(house: House) -> None:
    def send(content: bytes) -> httpx.Response:
        headers = {"Idempotency-Key": "bring-once"}
        return house.http.post(f"{MODELS}/once/versions", content=content, headers=headers, timeout=60)

    first, again = send(onnx_models.lookup().onnx), send(onnx_models.lookup().onnx)
    assert made(first)["version"] == made(again)["version"] == 1
    assert send(onnx_models.affine().onnx).status_code == 409


def test_models_are_kept_in_order(house: House) -> None:
    one = made(bring(house, "kept", onnx_models.doubled(-1, 2).onnx, summary="Zebra"))
    two = made(bring(house, "kept", onnx_models.doubled(-1, 3).onnx, label=["stripe", "plain"]))
    assert (one["version"], two["version"]) == (1, 2)
    assert [model["name"] for model in house.get("models", q="zEBRA")["models"]] == ["kept"]
    assert [version["version"] for version in house.get("models/kept/versions", q="stripe")["versions"]] == [2]
    comparison = house.get("models/kept/versions/1/comparison", other=2)
    assert (comparison["left"]["version"], comparison["right"]["version"]) == (1, 2)

    path = f"{MODELS}/kept/versions/1"
    assert house.http.patch(path, json={"archived": True}).json()["archived"]
    assert [version["version"] for version in house.get("models/kept/versions")["versions"]] == [2]
    assert [version["version"] for version in house.get("models/kept/versions", archived=True)["versions"]] == [1]
    refused = put_champion(house, "kept", 1, force=True, reason="old times")
    assert (refused.status_code, "archived" in refused.text) == (409, True)
    assert not house.http.patch(path, json={"archived": False}).json()["archived"]

    staged(house, "kept", 1)
    assert house.http.delete(path).status_code == 204
    assert house.http.get(path).status_code == 404
    until(lambda: deployment(house, "kept", 1)["state"] == "unstaged", what="the deleted version to be unloaded")
    assert made(bring(house, "kept", onnx_models.doubled(-1, 2).onnx))["version"] == 3

    assert house.http.patch(f"{MODELS}/kept", json={"archived": True}).json()["archived"]
    assert "kept" not in [model["name"] for model in house.get("models")["models"]]
    assert put_champion(house, "kept", 2, force=True, reason="no").status_code == 409
    assert bring(house, "kept", onnx_models.lookup().onnx).status_code == 409


def test_the_champion_stays(house: House, champion: int) -> None:
    path = f"{MODELS}/digits-cnn/versions/{champion}"
    for response in (house.http.delete(path), house.http.patch(path, json={"archived": True})):
        assert (response.status_code, "champion" in response.text) == (409, True)


def test_the_client_does_all_of_it(house: House, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(onnx_models.doubled(-1, 5).onnx)
    with aimass.Client(house.stack.info["gateway"], house.key) as client:
        made = client.upload("by-client", file, labels=["one", "two"], summary="doubles", task_type="tabular")
        assert (made["version"], made["labels"], made["card"]) == (1, ["one", "two"], {"summary": "doubles"})
        archive = client.export_version("by-client", 1, tmp_path / "by-client.zip")
        with pytest.raises(aimass.ApiError) as refused:
            client.import_version("by-client", archive)
        assert refused.value.status == 409
        copy = client.import_version("by-client-too", archive)
        assert (copy["source"], copy["digest"], copy["labels"]) == ("import", made["digest"], ["one", "two"])
        with pytest.raises(aimass.ApiError):
            client.export_version("by-client", 9, tmp_path / "nothing.zip")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["by-client.zip", "model.onnx"]

        assert client.archive_version("by-client-too", 1)["archived"]
        assert client.versions("by-client-too") == []
        assert not client.archive_version("by-client-too", 1, archived=False)["archived"]
        assert client.archive_model("by-client-too")["archived"]
        assert [model["name"] for model in client.models("by-client")] == ["by-client"]
        assert client.compare("by-client", 1, 1)["parameters"] == {}
        staged(house, "by-client", 1)
        assert client.promote("by-client", 1, force="no data set fits")["aliases"] == ["champion"]
        client.delete_version("by-client-too", 1)
        assert client.versions("by-client-too", archived=True) == []
        assert client.collect_garbage()["artifacts"] == 0  # whatever there is, it is young
