"""Predictions for people, through the gateway, registry, inference and Triton: labels and scores for what they have."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aimass
import numpy as np
import openai
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.msg import Msg
from onnx import helper

from deploy.embedded.testing_servers import PostgresServer, TritonServer, triton_server
from shared.bus import settle
from shared.permissions import Role
from tests.conftest import fresh_database
from tests.integration.gateway_neighbours import bearer
from tests.integration.onnx_models import Served, served, spec
from tests.integration.running import until
from tests.integration.served_gateway import ServedGateway, served_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
Found = TypeVar("Found")
COLUMNS = ["age", "income", "debt"]
FEATURES: dict[str, list[dict[str, Any]]] = {
    "credit": [{"name": "facts", "datatype": "FP32", "shape": [3], "columns": COLUMNS}],
    "words": [{"name": "text", "datatype": "BYTES"}],
}


def credit() -> Served:
    """Good where income exceeds debt; a missing age counts as none."""
    return served(
        [
            helper.make_node("IsNaN", ["facts"], ["missing"]),
            helper.make_node("Where", ["missing", "zero", "facts"], ["known"]),
            helper.make_node("MatMul", ["known", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        [spec("facts", "FP32", -1, 3)],
        [spec("probabilities", "FP32", -1, 2)],
        weights=np.array([[0, 0], [1, 0], [0, 1]], np.float32),
        zero=np.zeros(1, np.float32),
    )


def words() -> Served:
    """Two numbers for a text: whether it is 'cat', and whether it is 'dog'."""
    pool = {"pool_strings": ["cat", "dog"], "ngram_counts": [0], "ngram_indexes": [0, 1]}
    grams = {"min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0}
    return served(
        [
            helper.make_node("Unsqueeze", ["text", "axis"], ["column"]),
            helper.make_node("TfIdfVectorizer", ["column"], ["vector"], mode="TF", **pool, **grams),
        ],
        [spec("text", "BYTES", -1)],
        [spec("vector", "FP32", -1, 2)],
        axis=np.array([1], np.int64),
    )


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with triton_server(tmp_path_factory.mktemp("triton")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    postgres: PostgresServer,
    passwords: dict[str, str],
    triton: TritonServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ServedGateway]:
    with fresh_database(postgres, passwords) as urls:
        async with served_gateway(urls, tmp_path_factory.mktemp("served"), triton) as started:
            labelled = {"task_type": "classification", "labels": ("good", "bad")}
            await started.train("credit", credit(), FEATURES["credit"], **labelled)
            await started.train("words", words(), FEATURES["words"], task_type="embedding")
            for model in FEATURES:
                await started.promote(model)
            yield started


async def predict(house: ServedGateway, model: str, content: bytes, kind: str) -> dict[str, Any]:
    reply = await house.http.post(f"/api/v1/predict/{model}", content=content, headers={"Content-Type": kind})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    assert reply.headers["x-prediction-id"] == answer["prediction_id"]
    assert (answer["model"], answer["version"]) == (model.partition("/")[0], 1)
    return answer


async def test_values_by_the_names_of_columns(house: ServedGateway) -> None:
    items = [{"age": None, "income": 3, "debt": 1.5}, {"facts": [40, 0, 2]}, [1, 2, 2]]
    reply = await house.http.post("/api/v1/predict/credit", json={"items": items})
    found = reply.json()["predictions"]
    assert [each["label"] for each in found] == ["good", "bad", "good"]
    assert found[0]["scores"] == {"good": pytest.approx(0.8176, abs=1e-4), "bad": pytest.approx(0.1824, abs=1e-4)}
    assert found[0]["score"] == found[0]["scores"]["good"]


async def test_rows_of_a_table(house: ServedGateway) -> None:
    table = b"name,debt,age,income\r\nada,1,,2\r\nbob,2,30,1\r\n"
    answer = await predict(house, "credit", table, "text/csv; charset=utf-8")
    assert [each["label"] for each in answer["predictions"]] == ["good", "bad"]


async def test_a_text(house: ServedGateway) -> None:
    answer = await predict(house, "words", b"dog", "text/plain")
    assert answer["predictions"] == [{"outputs": {"vector": [0, 1]}}]


async def test_the_python_client_asks_with_values_and_with_files(house: ServedGateway, tmp_path: Path) -> None:
    (table := tmp_path / "people.csv").write_text("age,income,debt\n,2,1\n")
    with aimass.Client(house.url, house.key) as client:
        for what in ([{"age": 30, "income": 2, "debt": 1}], table):
            answers = await do(client.ask, "credit", what, 1, top=1)
            assert [each["label"] for each in answers["predictions"]] == ["good"]
            assert answers["predictions"][0]["scores"].keys() == {"good"}


JSON, CSV, PNG = "application/json", "text/csv", "image/png"
FINITE = st.floats(allow_nan=False, allow_infinity=False)
LEAF = st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=9)
NAMES = st.sampled_from([*COLUMNS, "facts", "text", ""])
VALUES = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner), max_leaves=9)
GOOD = b'{"items": [[1, 2, 3]]}'


@pytest.mark.parametrize(
    ("path", "kind", "content", "status", "field", "words"),
    [
        ("credit", JSON, b'{"items": [{"age": 1, "debt": 2}]}', 422, "items[0].income", '"income" is missing'),
        ("credit", JSON, b'{"items": [[1, 2, 3], {"agee": 1}]}', 422, "items[1].agee", '"agee" is unknown'),
        ("credit", JSON, b'{"items": [{"age": "old", "income": 1, "debt": 2}]}', 422, "items[0].age", "a number"),
        ("credit", JSON, b'{"items": [[1, 2]]}', 422, "items[0].facts", "[3]"),
        ("credit", JSON, b'{"items": []}', 422, "items", "1 to 64"),
        ("credit", JSON, b'{"rows": []}', 422, "items", "items"),
        ("credit", JSON, b"{", 422, "body", "JSON"),
        ("credit", CSV, b"age,income\n1,2\n", 422, "line 2.debt", '"debt" is missing'),
        ("credit", CSV, b"age,income,debt\n1,2,3\n4,x,6\n", 422, "line 3.income", "number"),
        ("credit", "text/plain", b"hello", 422, "text.facts", "[3]"),
        ("credit", PNG, b"", 422, "Content-Type", '"facts"'),
        ("credit", "application/xml", b"", 415, "Content-Type", "text/csv"),
        ("credit?top=0", JSON, GOOD, 422, "top", "greater"),
        ("words", JSON, b'{"items": [7]}', 422, "items[0].text", "must be text"),
        ("unknown", JSON, GOOD, 404, "model", "no model"),
        ("credit/versions/7", JSON, GOOD, 404, "version", "no version 7"),
        ("credit", JSON, b" " * (1 << 20) + b" ", 413, None, "1048576"),
        ("credit", PNG, b" " * (8 << 20) + b" ", 413, None, "8388608"),
    ],
)
async def test_what_is_wrong_is_named(
    house: ServedGateway, path: str, kind: str, content: bytes, status: int, field: str | None, words: str
) -> None:
    reply = await house.http.post(f"/api/v1/predict/{path}", content=content, headers={"Content-Type": kind})
    problem = reply.json()
    assert (reply.status_code, problem.get("field")) == (status, field), problem
    assert reply.headers["content-type"] == "application/problem+json" and words in problem["detail"]


@settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))
@given(items=VALUES, model=st.sampled_from(["credit", "words"]))
async def test_anything_is_answered_or_refused_in_words(house: ServedGateway, items: Any, model: str) -> None:
    reply = await house.http.post(f"/api/v1/predict/{model}", json={"items": items})
    if reply.status_code == 200:
        assert len(reply.json()["predictions"]) == len(items)
    else:
        assert reply.status_code == 422 and reply.json()["field"] and len(reply.json()["detail"]) > 10, reply.text


async def test_who_may_not_or_is_of_another_project(house: ServedGateway) -> None:
    viewer, stranger = await house.make_key(Role.VIEWER), await house.make_key(Role.ADMIN, "other")
    for key, statuses in ((viewer, {403}), (stranger, {404}), ("aim_unknown", {401})):
        for path, body in (("/api/v1/predict/credit", GOOD), ("/v1/embeddings", b'{"model": "words", "input": "x"}')):
            reply = await house.http.post(path, content=body, headers=bearer(key) | {"Content-Type": JSON})
            assert {reply.status_code} == statuses, reply.text
    assert (await house.http.get("/v1/models", headers=bearer(stranger))).json() == {"object": "list", "data": []}


async def test_a_call_is_one_request_of_the_data_plane_with_its_deadline(house: ServedGateway) -> None:
    await predict(house, "credit/versions/1", GOOD, JSON)
    seen: list[str] = []
    subscription = await house.connection.subscribe("infer.default.credit", cb=partial(note, seen))
    asked = await house.connection.subscribe("rpc.registry.>", cb=partial(note, seen))
    await settle(house.connection)
    headers = {"X-Request-Timeout-Ms": "60000", "Content-Type": JSON}
    for _ in range(3):
        reply = await house.http.post("/api/v1/predict/credit/versions/1", content=GOOD, headers=headers)
        assert reply.status_code == 200, reply.text

    async def all_seen() -> bool:
        return len(seen) >= 3

    await until(all_seen)
    await settle(house.connection)
    assert seen == ["infer.default.credit"] * 3
    for each in (subscription, asked):
        await each.unsubscribe()
    wrong = headers | {"X-Request-Timeout-Ms": "0"}
    late = await house.http.post("/api/v1/predict/credit", content=GOOD, headers=wrong)
    assert (late.status_code, late.json()["field"]) == (422, "X-Request-Timeout-Ms")


async def note(seen: list[str], message: Msg) -> None:
    seen.append(message.subject)


async def test_a_prediction_is_in_the_log(house: ServedGateway) -> None:
    asked = await house.http.post("/api/v1/predict/credit", content=GOOD, headers={"Content-Type": JSON})
    found = await house.connection.jetstream().pull_subscribe("pred.default.credit", stream="PRED")
    rows = b""
    async with asyncio.timeout(60):
        while asked.json()["prediction_id"].encode() not in rows:
            rows += b"".join(message.data for message in await found.fetch(timeout=60))


@pytest.fixture(scope="module")
def client(house: ServedGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0) as client:
        yield client


async def do(call: Callable[..., Found], *arguments: Any, **options: Any) -> Found:
    """The stock client waits, so it works in a thread of its own."""
    return await asyncio.to_thread(call, *arguments, **options)


async def test_openai_lists_the_models_that_serve(client: openai.OpenAI) -> None:
    found = await do(client.models.list)
    assert [each.id for each in found.data] == ["credit", "words"]
    assert (await do(client.models.retrieve, "words")).created > 1_600_000_000
    with pytest.raises(openai.NotFoundError) as refused:
        await do(client.models.retrieve, "unknown")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


async def test_openai_makes_embeddings(client: openai.OpenAI) -> None:
    found = await do(client.embeddings.create, model="words", input=["dog", "cat", ""])
    assert [each.embedding for each in found.data] == [[0, 1], [1, 0], [0, 0]]
    plain = await do(client.embeddings.create, model="words", input="dog", encoding_format="float")
    assert plain.data[0].embedding == [0, 1]
    many = await do(client.embeddings.create, model="words", input=["cat", "dog"] * 65, dimensions=2)
    assert [each.embedding for each in many.data] == [[1, 0], [0, 1]] * 65
    assert [each.index for each in many.data] == list(range(130))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"input": [[1, 2], [3]]}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": "x", "dimensions": 3}, "dimensions"),
        ({"input": "x", "model": "credit"}, "model"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
    ],
)
async def test_openai_reads_why_not(client: openai.OpenAI, given: dict[str, Any], field: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await do(client.embeddings.create, **({"model": "words"} | given))
    assert refused.value.param == field and field.partition("[")[0] in refused.value.message
