"""A search index over HTTP: built from a file, asked by meaning and by words, built anew, deleted."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aimass
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.test_uploads import bring, infer, made, put_champion, staged
from tests.house import House, until
from tests.integration import onnx_models

INDEXES = "/api/v1/indexes"
TOPICS = {"animals": "dog|puppy|cat", "vehicles": "car|lorry|wheels", "food": "bread|loaf|butter"}
DOCUMENTS = {"d1": "a puppy sleeps", "d2": "the lorry has eighteen wheels", "d3": "a loaf, warm", "d4": "the dog barks"}


def topics() -> bytes:
    """An ONNX file that makes a vector of a text: which topics it has words of."""
    nodes, names = [], []
    for name, pattern in TOPICS.items():
        nodes += [
            helper.make_node("RegexFullMatch", ["text"], [f"{name}?"], pattern=f".*({pattern}).*"),
            helper.make_node("Cast", [f"{name}?"], [f"{name}!"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", [f"{name}!", "last"], [name]),
        ]
        names.append(name)
    nodes += [
        helper.make_node("Concat", names, ["found"], axis=1),
        helper.make_node("Add", ["found", "little"], ["vectors"]),
    ]
    text = helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", len(TOPICS)])
    constants = {"last": np.array([1]), "little": np.full(len(TOPICS), 0.1, "f4")}
    given = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "topics", [text], [vectors], given)
    made_: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()
    return made_


def serve(house: House, model: str, content: bytes) -> None:
    version = made(bring(house, model, content))["version"]
    staged(house, model, version)
    answer = put_champion(house, model, version, force=True, reason="for a test")
    assert answer.status_code == 200, answer.text
    until(lambda: house.http.get(f"/v2/models/{model}/ready").status_code == 200, what=f"{model} to serve")


@pytest.fixture(scope="module")
def client(house: House) -> Iterable[aimass.Client]:
    serve(house, "topics", topics())
    with aimass.Client(house.stack.info["gateway"], house.key) as client:
        yield client


def write(path: Path, documents: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in documents.items()))
    return path


def build(house: House, client: aimass.Client, path: Path, documents: dict[str, str]) -> dict[str, Any]:
    task = client.build_index("things", write(path, documents), "topics")
    return house.wait_task(task["id"])


def test_documents_are_found_by_meaning_and_by_words(house: House, client: aimass.Client, tmp_path: Path) -> None:
    task = build(house, client, tmp_path / "documents.jsonl", DOCUMENTS)
    assert (task["state"], task["result"]) == ("succeeded", {"index": "things", "documents": 4})
    index = client.index("things")
    assert (index["documents"], index["dimensions"], index["model"], index["task_id"]) == (4, 3, "topics", task["id"])
    assert client.indexes() == [index]

    def found(mode: Any) -> list[str]:
        return [document["id"] for document in client.search("things", "my dog", limit=2, mode=mode)]

    assert found("text") == ["d4"], "the puppy is no dog by words"
    assert sorted(found("vector")) == ["d1", "d4"]
    assert found("hybrid") == ["d4", "d1"]
    best = client.search("things", "my dog", limit=1)[0]
    assert (best["text"], best["text_rank"], best["vector_rank"] in (1, 2)) == ("the dog barks", 1, True)
    assert client.search("things", "zebra", mode="text") == []


def test_an_index_that_is_built_anew_forgets_and_one_that_fails_does_not(
    house: House, client: aimass.Client, tmp_path: Path
) -> None:
    many = {f"n{number}": f"bread number {number}" for number in range(600)} | {"car": "a red car"}
    before = build(house, client, tmp_path / "before.jsonl", DOCUMENTS)
    assert build(house, client, tmp_path / "many.jsonl", many)["result"]["documents"] == 601
    assert [found["id"] for found in client.search("things", "lorry", limit=1, mode="vector")] == ["car"]
    tables = house.rows("inference", "SELECT tablename FROM pg_tables WHERE schemaname = 'inference'")
    assert before["id"] not in {row["tablename"] for row in tables}

    (tmp_path / "no-text.csv").write_text("id,words\n1,bread\n")
    failed = house.wait_task(client.build_index("things", tmp_path / "no-text.csv", "topics")["id"])
    assert (failed["state"], failed["error_class"]) == ("failed", "Unfit")
    assert "no column 'text'" in failed["error_message"]
    assert client.index("things")["documents"] == 601
    tables = house.rows("inference", "SELECT tablename FROM pg_tables WHERE schemaname = 'inference'")
    assert failed["id"] not in {row["tablename"] for row in tables}


def test_documents_have_attributes_and_ids_of_their_own(house: House, client: aimass.Client, tmp_path: Path) -> None:
    attributes = {"brand": "A", "price": 2.5, "new": True}
    lines = [{"id": "a", "text": "a dog", "attributes": attributes}, {"id": "b", "text": "bread", "attributes": {}}]
    path = tmp_path / "attributes.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert house.wait_task(client.build_index("goods", path, "topics")["id"])["state"] == "succeeded"
    found = {document["id"]: document["attributes"] for document in client.search("goods", "dog")}
    assert found == {"a": attributes, "b": {}}

    (tmp_path / "twice.csv").write_text("id,text\na,a dog\na,a cat\n")
    failed = house.wait_task(client.build_index("goods", tmp_path / "twice.csv", "topics")["id"])
    assert (failed["state"], failed["error_class"]) == ("failed", "Unfit")
    assert "two documents have 'a'" in failed["error_message"]
    assert {document["id"] for document in client.search("goods", "dog")} == {"a", "b"}
    client.delete_index("goods")


def test_a_deleted_index_is_gone(house: House, client: aimass.Client, tmp_path: Path) -> None:
    task = build(house, client, tmp_path / "documents.jsonl", DOCUMENTS)
    client.delete_index("things")
    with pytest.raises(aimass.NotFound):
        client.search("things", "dog")
    tables = house.rows("inference", "SELECT tablename FROM pg_tables WHERE schemaname = 'inference'")
    assert task["id"] not in {row["tablename"] for row in tables}


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no such model": ({"model": "nothing"}, 404, "model"),
    "no vectors": ({"model": "affine-of-search"}, 422, "model"),
    "no model named": ({}, 422, "model"),
    "no such version": ({"model": "topics", "version": 9}, 404, "version"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_indexed(house: House, client: aimass.Client, what: str) -> None:
    params, status, field = REFUSED[what]
    if what == "no vectors" and infer(house, "affine-of-search").status_code != 200:
        serve(house, "affine-of-search", onnx_models.affine().onnx)
    answer = house.http.post(f"{INDEXES}/things", params=params, content=b"id,text\n1,a\n")
    assert (answer.status_code, field in answer.text) == (status, True), answer.text


@pytest.mark.parametrize(
    ("query", "field"),
    [({}, "q"), ({"q": "a\0b"}, "q"), ({"q": "x", "limit": 0}, "limit"), ({"q": "x", "mode": "y"}, "mode")],
)
def test_what_cannot_be_asked(house: House, client: aimass.Client, query: dict[str, Any], field: str) -> None:
    answer = house.http.get(f"{INDEXES}/things/search", params=query)
    assert answer.status_code == 422
    assert field in answer.text
