"""The same request to the gateway and to Triton itself has the same answer, field by field, but for names and ids.

Every datatype but BF16, which Triton's Python backend does not serve. FP16 goes as binary data: Triton has no JSON for
it. Where outputs are named, Triton leaves `binary_data_output` out of account and the text of the protocol does not;
each of them says here how it shall come.
"""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as sync_client
import tritonclient.http.aio as aio_client
from numpy.typing import NDArray

from services.inference.numbers import NUMBERS
from shared.tensors import DTYPES, from_numpy
from tests.e2e.test_uploads import bring, made, staged
from tests.house import House
from tests.integration import onnx_models

LENGTH = "Inference-Header-Content-Length"
ROWS = np.random.default_rng(5).normal(size=(64, 4)).astype("<f4")
Document = dict[str, Any]


def extremes(dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "b":
        return np.array([[True, False], [False, True]])
    info = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    smallest = 1 if dtype.kind in "iu" else np.finfo(dtype).smallest_subnormal
    return np.array([[info.min, info.max], [smallest, 0]], dtype)


ARRAYS = {name: extremes(dtype) for name, dtype in DTYPES.items()}
ARRAYS["BYTES"] = np.array([[b"", "zwölf, 十二".encode()], [b'"\\\n\x00', b"x" * 300]], object)


class Both:
    """The gateway and Triton, asked the same."""

    def __init__(self, house: House) -> None:
        self.address, self.triton_address = house.address, str(house.stack.info["triton"]["http"])[7:]
        self.headers = {"Authorization": f"Bearer {house.key}", "Accept-Encoding": "identity"}
        self.http = house.http
        self.triton = httpx.Client(base_url=house.stack.info["triton"]["http"], timeout=30)

    def post(self, model: str, body: bytes, headers: dict[str, str]) -> tuple[httpx.Response, httpx.Response]:
        wanted = self.headers | headers
        ours = self.http.post(f"/v2/models/{model}/versions/1/infer", content=body, headers=wanted)
        return ours, self.triton.post(f"/v2/models/default.{model}.1/infer", content=body, headers=wanted)

    def ask(self, model: str, document: Document, blobs: bytes = b"", **headers: str) -> tuple[Any, Any]:
        header = json.dumps(document).encode()
        return self.post(model, header + blobs, ({LENGTH: str(len(header))} if blobs else {}) | headers)

    def agree(self, model: str, document: Document, blobs: bytes = b"", **headers: str) -> Document:
        return agreed(*self.ask(model, document, blobs, **headers))


@pytest.fixture(scope="module")
def both(house: House) -> Both:
    for name, model in (("mirror", onnx_models.mirror()), ("scores", onnx_models.affine())):
        made(bring(house, name, model.onnx))
        staged(house, name, 1)
    return Both(house)


def agreed(ours: httpx.Response, theirs: httpx.Response) -> Document:
    """What both answer; the order of outputs means nothing in Triton."""
    assert (ours.status_code, theirs.status_code) == (200, 200), (ours.text, theirs.text)
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert (LENGTH in ours.headers) == (LENGTH in theirs.headers)
    mine, its = fields(ours), fields(theirs)
    assert (mine.pop("model_name"), mine.pop("model_version")) == (its.pop("model_name").split(".")[1], "1")
    assert its.pop("model_version") == "1"
    assert mine.pop("parameters").keys() == {"prediction_id"}
    assert mine == its
    return mine


def fields(response: httpx.Response) -> Document:
    """An answer's fields, its outputs by name, each with the bytes that belong to it."""
    length = int(response.headers.get(LENGTH, len(response.content)))
    document: Document = json.loads(response.content[:length])
    blobs, outputs = response.content[length:], {}
    for output in document["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size", 0)
        outputs[output["name"]] = output | {"blob": blobs[:size]}
        blobs = blobs[size:]
    assert blobs == b""
    return document | {"outputs": outputs}


def plain(array: NDArray[Any]) -> list[Any]:
    values = np.vectorize(lambda item: item.decode(), otypes=[object])(array) if array.dtype == object else array
    found: list[Any] = values.tolist()
    return found


def inputs(nested: bool, binary: Callable[[str], bool]) -> tuple[list[Document], bytes]:
    """All datatypes, some as JSON and some as binary data."""
    entries, blobs = [], b""
    for name, array in ARRAYS.items():
        entry: Document = {"name": f"x_{name}", "datatype": name, "shape": list(array.shape)}
        if binary(name) or name == "FP16":
            blob = bytes(from_numpy("x", array).data)
            entry["parameters"] = {"binary_data_size": len(blob)}
            blobs += blob
        else:
            entry["data"] = plain(array if nested else array.ravel())
        entries.append(entry)
    return entries, blobs


def chosen(binary: Callable[[str], bool | None], names: Any = ARRAYS) -> list[Document]:
    """Outputs, some with a wish of their own."""
    wishes = {name: True if name == "FP16" else binary(name) for name in names}
    return [
        {"name": f"y_{name}"} | ({} if wish is None else {"parameters": {"binary_data": wish}})
        for name, wish in wishes.items()
    ]


REQUESTS: dict[str, tuple[bool, Callable[[str], bool], Document]] = {
    "nested json": (True, lambda _: False, {"outputs": chosen(lambda _: False)}),
    "flat json": (False, lambda _: False, {"outputs": chosen(lambda _: None)}),
    "all binary": (True, lambda _: True, {"parameters": {"binary_data_output": True}}),
    "json in, binary out": (True, lambda _: False, {"outputs": chosen(lambda _: True)}),
    "mixed": (False, lambda name: "INT" in name, {"outputs": chosen(lambda name: name[-1] in "268" or None)}),
    "overrides of a default": (
        True,
        lambda name: name in ("BYTES", "BOOL"),
        {
            "outputs": chosen(lambda name: name not in ("BYTES", "FP64")),
            "parameters": {"binary_data_output": True},
        },
    ),
    "some outputs, an id and parameters": (
        True,
        lambda _: True,
        {
            "outputs": chosen(lambda _: None, ["INT8", "BYTES"]),
            "id": "my own",
            "parameters": {"a": 1, "b": "text", "c": True, "timeout": 60_000_000},
        },
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_every_datatype_every_way(both: Both, case: str) -> None:
    nested, binary, more = REQUESTS[case]
    entries, blobs = inputs(nested, binary)
    found = both.agree("mirror", {"inputs": entries} | more, blobs)
    assert found["outputs"].keys() == {output["name"] for output in more.get("outputs", chosen(lambda _: None))}
    assert found.get("id") == more.get("id")


def rows(count: int = 2, **changes: Any) -> Document:
    """One input of `scores`."""
    return {"name": "x", "datatype": "FP32", "shape": [count, 4], "data": ROWS[:count].ravel().tolist()} | changes


@pytest.mark.parametrize("binary", [True, False])
def test_classification(both: Both, house: House, champion: int, binary: bool) -> None:
    for classes in (0, 1, 2, 7):
        wish = {"name": "y", "parameters": {"classification": classes, "binary_data": binary}}
        found = both.agree("scores", {"inputs": [rows()], "outputs": [wish]})["outputs"]["y"]
        assert found["datatype"] == ("BYTES" if classes else "FP32")
    wish = {"name": "probabilities", "parameters": {"classification": 2}}
    image = {"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [float(n % 17) for n in range(64)]}
    ours = house.http.post("/v2/models/digits-cnn/infer", json={"inputs": [image], "outputs": [wish]}).json()
    name = f"default.digits-cnn.{champion}"
    theirs = both.triton.post(f"/v2/models/{name}/infer", json={"inputs": [image], "outputs": [wish]}).json()
    labelled = [f"{text}:{text.rpartition(':')[2]}" for text in theirs["outputs"][0]["data"]]
    assert ours["outputs"][0] == theirs["outputs"][0] | {"data": labelled}


async def test_requests_that_share_a_call_have_their_own_answers(both: Both) -> None:
    documents = [
        {
            "id": str(number),
            "inputs": [rows(1 + number % 5)],
            "outputs": [{"name": "y", "parameters": {"classification": number % 4, "binary_data": number % 3 == 0}}],
        }
        for number in range(24)
    ]
    async with httpx.AsyncClient(base_url=f"http://{both.address}", headers=both.headers, timeout=30) as gateway:
        posts = [gateway.post("/v2/models/scores/versions/1/infer", json=document) for document in documents]
        ours = await asyncio.gather(*posts)
    for answer, document in zip(ours, documents, strict=True):
        theirs = fields(both.triton.post("/v2/models/default.scores.1/infer", json=document))
        mine = fields(answer)
        assert mine["id"] == theirs["id"]
        assert mine["outputs"].keys() == theirs["outputs"].keys()
        y, its = mine["outputs"]["y"], theirs["outputs"]["y"]
        assert (y["datatype"], y["shape"], "data" in y) == (its["datatype"], its["shape"], "data" in its)
        if y["datatype"] == "BYTES":
            assert classes_of(y) == classes_of(its)
        else:
            np.testing.assert_allclose(scores_of(y), scores_of(its), rtol=1e-5, atol=1e-6)


def classes_of(output: Document) -> list[str]:
    """Which classes, without their scores, whose last digits differ between batch sizes."""
    texts = output["data"] if "data" in output else output["blob"].decode("latin-1").split(".")[1:]
    return [text.partition(":")[2][:1] for text in texts]


def scores_of(output: Document) -> Any:
    return output["data"] if "data" in output else np.frombuffer(output["blob"], "<f4")


def test_raw_bodies(both: Both) -> None:
    """Triton itself takes none of a model with an optional input more: there the row goes as a tensor."""
    for row in ROWS[:3]:
        entry = {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": row.nbytes}}
        document = {"inputs": [entry], "parameters": {"binary_data_output": True}}
        ours, _ = both.post("scores", row.tobytes(), {LENGTH: "0"})
        found = agreed(ours, both.ask("scores", document, row.tobytes())[1])
        assert found["outputs"]["y"]["shape"] == [1, 3]
    for model, size in (("scores", 32), ("scores", 0), ("scores", 15), ("mirror", 16)):
        ours, theirs = both.post(model, bytes(size), {LENGTH: "0"})
        assert (ours.status_code, list(ours.json())) == (theirs.status_code, ["error"]) == (400, ["error"])


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies(both: Both, encoding: str, compress: Callable[[bytes], bytes]) -> None:
    headers = {"Content-Encoding": encoding, "Accept-Encoding": encoding}
    body = json.dumps({"inputs": [rows(64, data=[0.5] * 256)]}).encode()
    ours, theirs = both.post("scores", compress(body), headers)
    agreed(ours, theirs)
    assert ours.headers["content-encoding"] == theirs.headers["content-encoding"] == encoding
    blob = np.zeros((64, 4), "<f4").tobytes()
    entry = {"name": "x", "datatype": "FP32", "shape": [64, 4], "parameters": {"binary_data_size": len(blob)}}
    header = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    ours, theirs = both.post("scores", compress(header + blob), headers | {LENGTH: str(len(header))})
    found = agreed(ours, theirs)
    assert len(found["outputs"]["y"]["blob"]) == 64 * 3 * 4


WRONG: dict[str, tuple[Document, str]] = {
    "an unknown input": ({"inputs": [rows(name="q")]}, "'q'"),
    "another datatype": ({"inputs": [rows(datatype="FP64")]}, "'x'"),
    "no datatype": ({"inputs": [rows(datatype="FP99")]}, "x"),
    "another shape": ({"inputs": [rows(shape=[2, 3], data=[0] * 6)]}, "'x'"),
    "too few elements": ({"inputs": [rows(data=[0] * 7)]}, ""),
    "text for numbers": ({"inputs": [rows(data=["0"] * 8)]}, ""),
    "no data": ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4]}]}, ""),
    "no inputs": ({"inputs": []}, ""),
    "twice the same": ({"inputs": [rows(), rows()]}, "'x'"),
    "too many rows": ({"inputs": [rows(65, data=[0] * 260)]}, "64"),
    "no rows": ({"inputs": [rows(0)]}, ""),
    "an unknown output": ({"inputs": [rows()], "outputs": [{"name": "q"}]}, "'q'"),
    "classes below none": ({"inputs": [rows()], "outputs": [{"name": "y", "parameters": {"classification": -1}}]}, ""),
    "a timeout below none": ({"inputs": [rows()], "parameters": {"timeout": -1}}, "'timeout'"),
    "a parameter of nothing": ({"inputs": [rows()], "parameters": {"p": None}}, "'p'"),
    "an id that is no text": ({"inputs": [rows()], "id": 5}, "'id'"),
    "nothing": ({}, "'inputs'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_refusals(both: Both, case: str) -> None:
    """Triton answers 500 to some mistakes of its caller; here they are 400."""
    document, named = WRONG[case]
    ours, theirs = both.ask("scores", document)
    assert ours.status_code == 400
    assert theirs.status_code in (400, 500)
    assert named in ours.json()["error"]
    assert named in theirs.json()["error"]


def tensors(client: Any, binary: Callable[[str], bool]) -> tuple[list[Any], list[Any]]:
    asked, wished = [], []
    for name, array in ARRAYS.items():
        tensor = client.InferInput(f"x_{name}", list(array.shape), name)
        tensor.set_data_from_numpy(array, binary_data=name == "FP16" or binary(name))
        asked.append(tensor)
        wished.append(client.InferRequestedOutput(f"y_{name}", binary_data=name == "FP16" or binary(name)))
    return asked, wished


BINARY: list[Callable[[str], bool]] = [lambda _: True, lambda name: "INT" in name]


@pytest.mark.parametrize("binary", BINARY, ids=["binary", "mixed"])
@pytest.mark.parametrize("algorithm", [None, "gzip"])
async def test_the_stock_clients_see_the_same(both: Both, binary: Callable[[str], bool], algorithm: str | None) -> None:
    options = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
    key = {"Authorization": both.headers["Authorization"]}

    def synchronous(address: str, model: str) -> Any:
        with sync_client.InferenceServerClient(address) as client:
            asked, wished = tensors(sync_client, binary)
            return client.infer(model, asked, "1", wished, "7", headers=dict(key), **options)

    async def asynchronous(address: str, model: str) -> Any:
        async with aio_client.InferenceServerClient(address) as client:
            asked, wished = tensors(aio_client, binary)
            return await client.infer(model, asked, "1", wished, "7", headers=dict(key), **options)

    results = [
        await asyncio.to_thread(synchronous, both.address, "mirror"),
        await asyncio.to_thread(synchronous, both.triton_address, "default.mirror.1"),
        await asynchronous(both.address, "mirror"),
        await asynchronous(both.triton_address, "default.mirror.1"),
    ]
    for name in ARRAYS:
        for result in results:
            assert result.get_response()["id"] == "7"
            np.testing.assert_array_equal(result.as_numpy(f"y_{name}"), results[1].as_numpy(f"y_{name}"))


async def test_metadata_statistics_and_configuration(both: Both) -> None:
    key = {"Authorization": both.headers["Authorization"]}
    async with (
        aio_client.InferenceServerClient(both.address) as ours,
        aio_client.InferenceServerClient(both.triton_address) as theirs,
    ):
        mine = await ours.get_model_metadata("mirror", headers=key)
        its = without_numbers(await theirs.get_model_metadata("default.mirror.1"), "inputs", "outputs")
        assert (mine["inputs"], mine["outputs"], mine["versions"]) == (its["inputs"], its["outputs"], its["versions"])
        config = await ours.get_model_config("mirror", "1", headers=key)
        its = without_numbers(await theirs.get_model_config("default.mirror.1"), "input", "output")
        assert config == renamed(its)
        counted = renamed(await theirs.get_inference_statistics("default.mirror.1"))
        assert await ours.get_inference_statistics("mirror", headers=key) == counted
        assert await ours.get_inference_statistics("mirror", "1", headers=key) == counted
        everything = (await ours.get_inference_statistics(headers=key))["model_stats"]
        assert counted["model_stats"][0] in everything
        assert {"mirror", "scores"} <= {entry["name"] for entry in everything}
        extensions = (await ours.get_server_metadata(headers=key))["extensions"]
        assert set(extensions) <= set((await theirs.get_server_metadata())["extensions"])


def without_numbers(document: Document, *keys: str) -> Document:
    """What people see of it: numbers of rows are between inference and Triton."""
    return document | {key: [one for one in document[key] if one["name"] != NUMBERS] for key in keys}


def renamed(document: Document) -> Document:
    found: Document = json.loads(json.dumps(document).replace("default.mirror.1", "mirror"))
    return found
