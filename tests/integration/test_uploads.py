"""Files that people bring to registry: told apart by content, looked into by a process that nothing can take down."""

import asyncio
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from services.registry import archive, engine, formats
from services.registry.files import Files
from services.registry.settings import Settings
from shared.artifacts import Artifacts
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.tasks.scratch import LOCK
from tests.integration import onnx_models

AFFINE = onnx_models.affine()
FREE = (None, None)


@pytest.fixture
async def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(f"file://{tmp_path}/artifacts")


@pytest.fixture
async def files(artifacts: Artifacts, tmp_path: Path) -> AsyncIterator[Files]:
    yield files_of(artifacts, tmp_path)
    root = tmp_path / "files"
    left = [path for path in root.iterdir() if path.name != LOCK] if root.exists() else []
    assert left == []


def files_of(artifacts: Artifacts, folder: Path, **limits: Any) -> Files:
    return Files(artifacts, Settings(home_dir=folder, **({"check_seconds": 18} | limits)))


MODELS = {
    "affine": AFFINE,
    "every datatype": onnx_models.mirror(),
    "fixed batch": onnx_models.doubled(1, 3),
    "index": onnx_models.lookup(),
}


@pytest.mark.parametrize("name", MODELS)
async def test_reads_inputs_and_outputs_from_the_file(files: Files, artifacts: Artifacts, name: str) -> None:
    model = MODELS[name]
    checked = await files.check(await artifacts.put(model.onnx), "onnx")
    assert checked.signature == model.signature
    assert checked.digest == model.digest
    assert checked.manifest is None


class Hostile:
    """A pickle that tells on whoever loads it."""

    def __init__(self, sentinel: Path) -> None:
        self._sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._sentinel}",)


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    return buffer.getvalue()


HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
FOREIGN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "zip, as .pt is": (zipped(data=b"x"), "zip archive"),
    "npz": (arrays(), "zip archive"),
    "hdf5, as .h5 is": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "gguf": (b"GGUF" + bytes(64), "GGUF"),
    "npy": (b"\x93NUMPY" + bytes(64), "NumPy"),
    "gzip": (b"\x1f\x8b" + bytes(64), "gzip"),
    "safetensors": (struct.pack("<Q", len(HEADER)) + HEADER + bytes(4), "safetensors"),
    "json": (b'{"graph": 1}', "JSON"),
    "html": (b"<html></html>", "HTML"),
    "program": (b"\x7fELF" + bytes(64), "program"),
    "script": (b"#!/bin/sh\n", "script"),
    "tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(64), "TensorFlow Lite"),
    "tar": (bytes(257) + b"ustar" + bytes(250), "tar archive"),
    "text": (b"hello", "no ONNX file"),
    "zeros": (bytes(1000), "no ONNX file"),
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_other_formats_are_refused_by_content(files: Files, artifacts: Artifacts, name: str) -> None:
    content, message = FOREIGN[name]
    with pytest.raises(InvalidInput, match=message) as refused:
        await files.check(await artifacts.put(content), "onnx")
    assert refused.value.field == "file"


@pytest.mark.parametrize("protocol", range(6))
async def test_a_pickle_is_never_loaded(files: Files, artifacts: Artifacts, tmp_path: Path, protocol: int) -> None:
    sentinel = tmp_path / "loaded"
    digest = await artifacts.put(pickle.dumps(Hostile(sentinel), protocol))
    for kind in ("onnx", "archive"):
        with pytest.raises(InvalidInput):
            await files.check(digest, kind)  # type: ignore[arg-type]
    assert not sentinel.exists()


def altered(change: Callable[[ModelProto], None]) -> bytes:
    model = ModelProto.FromString(AFFINE.onnx)
    change(model)
    return bytes(model.SerializeToString())


def external(location: str) -> bytes:
    def change(model: ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return altered(change)


def external_in_a_branch() -> bytes:
    """Hidden in an attribute of a node of a nested graph."""
    hidden = helper.make_tensor("w", TensorProto.FLOAT, [1], [0.0])
    hidden.external_data.add(key="location", value="/etc/hostname")
    constant = helper.make_node("Constant", [], ["c"], value=hidden)
    out = helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])
    branch = helper.make_graph([constant], "branch", [], [out])
    node = helper.make_node("If", ["flag"], ["z"], then_branch=branch, else_branch=branch)
    return altered(lambda model: model.graph.node.append(node))


def model_of(nodes: list[NodeProto], shape: list[Any], gives: tuple[Any, ...] = FREE, **constants: Any) -> bytes:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, gives)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


def cyclic() -> bytes:
    return model_of(
        [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Add", ["a", "x"], ["b"])]
        + [helper.make_node("Identity", ["b"], ["y"])],
        ["n", 2],
    )


def nested(depth: int) -> bytes:
    """Graphs in graphs, beyond what a parser should follow."""
    graph = helper.make_graph([], "leaf", [], [])
    text = graph.SerializeToString()
    for _ in range(depth):
        attribute = field(6, text)  # AttributeProto.g
        node = field(5, attribute)  # NodeProto.attribute
        text = field(1, node)  # GraphProto.node
    return field(7, text) + b"\x08\x09"  # ModelProto.graph, ir_version


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def expanding(size: int) -> bytes:
    """A small file that asks for a tensor of size times size floats."""
    return model_of(
        [
            helper.make_node("ReduceMean", ["x"], ["m"], keepdims=1),
            helper.make_node("Expand", ["m", "square"], ["big"]),
            helper.make_node("ReduceMean", ["big"], ["y"], keepdims=1),
        ],
        ["n", 1],
        square=np.array([size, size], np.int64),
    )


def endless() -> bytes:
    """A loop that goes on for ever."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Identity", ["s"], ["next"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("s", TensorProto.FLOAT, FREE)],
        [value("again", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, FREE)],
    )
    loop = helper.make_node("Loop", ["most", "go"] + ["x"], ["y"], body=body)
    return model_of([loop], ["n", 1], most=np.array(2**62), go=np.array(True))


def set_ir(version: int) -> Callable[[ModelProto], None]:
    return lambda model: setattr(model, "ir_version", version)


def set_opset(version: int) -> Callable[[ModelProto], None]:
    return lambda model: setattr(model.opset_import[0], "version", version)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "external data, relative": (lambda: external("../../secrets"), "outside the file"),
    "external data, absolute": (lambda: external("/etc/hostname"), "outside the file"),
    "external data, nested": (external_in_a_branch, "outside the file"),
    "IR from the future": (lambda: altered(set_ir(99)), "IR version is 99"),
    "IR from the past": (lambda: altered(set_ir(1)), "IR version is 1"),
    "opset from the future": (lambda: altered(set_opset(99)), "opset is 99"),
    "no opset": (lambda: altered(lambda model: model.ClearField("opset_import")), "opset is missing"),
    "no graph": (lambda: altered(lambda model: model.ClearField("graph")), "no graph"),
    "operator of nobody": (
        lambda: model_of([helper.make_node("Run", ["x"], ["y"], domain="evil")], ["n", 2]),
        "'evil.Run'",
    ),
    "operator with files": (
        lambda: model_of([helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")], ["n", 2]),
        "EPContext",
    ),
    "cyclic": (cyclic, "refused"),
    "nested 40 deep": (lambda: nested(40), "refused"),
    "nested 5,000 deep": (lambda: nested(5000), "refused"),
    "huge fixed input": (lambda: model_of([helper.make_node("Identity", ["x"], ["y"])], [2**40, 2**20]), "elements"),
    "negative size": (lambda: model_of([helper.make_node("Add", ["x", "x"], ["y"])], [2**62, 2**62]), "elements"),
    "asks for 16 TiB": (lambda: expanding(2**21), "refused|limits|within"),
    "asks for 16 GiB": (lambda: expanding(2**16), "refused|limits|within"),
    "cut off": (lambda: AFFINE.onnx[: len(AFFINE.onnx) // 2], "refused"),
    "wrong types": (
        lambda: model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], ["n", 2], w=np.zeros((2, 2), np.int64)),
        "refused",
    ),
    "no batch": (
        lambda: model_of(
            [helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0), helper.make_node("Identity", ["s"], ["y"])],
            ["n", 2],
            gives=(),
        ),
        "no dimensions",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_models_are_refused(files: Files, artifacts: Artifacts, name: str) -> None:
    make, message = HOSTILE[name]
    with pytest.raises(InvalidInput, match=message) as refused:
        await files.check(await artifacts.put(make()), "onnx")
    assert refused.value.field == "file"


async def test_a_model_that_never_ends_is_ended(artifacts: Artifacts, tmp_path: Path) -> None:
    digest = await artifacts.put(endless())
    with pytest.raises(InvalidInput, match="within"):
        await files_of(artifacts, tmp_path, check_seconds=3).check(digest, "onnx")


async def test_only_some_files_are_checked_at_once(artifacts: Artifacts, tmp_path: Path) -> None:
    files = files_of(artifacts, tmp_path, max_checks=1)
    digest = await artifacts.put(AFFINE.onnx)
    answers = await asyncio.gather(*(files.check(digest, "onnx") for _ in range(3)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert len(refused) == 2
    assert all(error.retry_after for error in refused)
    assert (await files.check(digest, "onnx")).signature == AFFINE.signature


async def test_what_is_not_kept_is_not_there(files: Files) -> None:
    with pytest.raises(NotFound):
        await files.check("0" * 64, "onnx")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changed_bytes_are_refused_or_understood(data: st.DataObject, tmp_path_factory: Any) -> None:
    """Up to the runs, which are a process's: reading a file raises nothing but a refusal."""
    content = bytearray(AFFINE.onnx)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        model = engine._parse(bytes(content))
        engine._check_header(model)
        engine._check_parts(model)
    except engine.Refused:
        pass


@given(st.binary(max_size=600))
def test_any_head_is_told_apart(head: bytes) -> None:
    assert formats.foreign(head) is None or formats.foreign(head)


FACTS = {"model": "m", "task_type": "tabular", "labels": ["a", "b"], "card": {"summary": "straße"}}


@pytest.fixture
async def exported(files: Files, artifacts: Artifacts) -> bytes:
    await artifacts.put(AFFINE.onnx)
    digest, size = await files.pack(AFFINE.digest, FACTS)
    content = await artifacts.get(digest)
    assert len(content) == size
    return content


async def test_an_exported_version_comes_back_as_it_was(files: Files, artifacts: Artifacts, exported: bytes) -> None:
    checked = await files.check(await artifacts.put(exported), "archive")
    assert (checked.digest, checked.signature, checked.manifest) == (AFFINE.digest, AFFINE.signature, FACTS)
    assert await artifacts.get(AFFINE.digest) == AFFINE.onnx
    again, _ = await files.pack(AFFINE.digest, FACTS)
    assert again == sha256(exported).hexdigest()


def manifest(**changes: Any) -> bytes:
    facts = {"format": archive.FORMAT, "files": {"model.onnx": {"sha256": AFFINE.digest}}, "version": FACTS} | changes
    return json.dumps(facts).encode()


def packed(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED, mode: int = 0o100644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = compression
            file.writestr(info, content)
    return buffer.getvalue()


MODEL = ("model.onnx", AFFINE.onnx)
GOOD = ("manifest.json", manifest())
ARCHIVES: dict[str, tuple[bytes, str]] = {
    "no archive": (AFFINE.onnx, "no exported version"),
    "traversal": (packed(GOOD, ("../../model.onnx", AFFINE.onnx)), "this archive has"),
    "absolute": (packed(GOOD, ("/tmp/model.onnx", AFFINE.onnx)), "this archive has"),
    "duplicate": (packed(GOOD, GOOD), "this archive has"),
    "more members": (packed(GOOD, MODEL, ("more", b"")), "has 3"),
    "many members": (packed(GOOD, MODEL, *((f"m{i}", b"") for i in range(1000))), "has 1002"),
    "symlink": (packed(GOOD, MODEL, mode=0o120777), "no regular file"),
    "device": (packed(GOOD, MODEL, mode=0o020666), "no regular file"),
    "bomb": (packed(GOOD, ("model.onnx", bytes(50_000_000)), compression=zipfile.ZIP_DEFLATED), "compressed"),
    "other model": (packed(GOOD, ("model.onnx", onnx_models.lookup().onnx)), "altered"),
    "no manifest": (packed(("manifest.json", b"hello"), MODEL), "no JSON"),
    "deep manifest": (packed(("manifest.json", b"[" * 100_000), MODEL), "no JSON"),
    "large manifest": (packed(("manifest.json", b" " * 300_000), MODEL), "at most"),
    "other format": (packed(("manifest.json", manifest(format="x")), MODEL), "format"),
    "no version": (packed(("manifest.json", manifest(version=1)), MODEL), "nothing of the version"),
    "no digests": (packed(("manifest.json", manifest(files=[])), MODEL), "digest"),
    "pickle inside": (
        packed(
            ("manifest.json", manifest(files={"model.onnx": {"sha256": sha256(pickle.dumps(1)).hexdigest()}})),
            ("model.onnx", pickle.dumps(1)),
        ),
        "pickle",
    ),
    "trailing bytes": (packed(GOOD, MODEL) + b"more", "does not end"),
}


@pytest.mark.parametrize("name", ARCHIVES)
async def test_hostile_archives_are_refused(files: Files, artifacts: Artifacts, tmp_path: Path, name: str) -> None:
    content, message = ARCHIVES[name]
    before = sorted(path for path in tmp_path.rglob("*") if "artifacts" not in path.parts)
    with pytest.raises(InvalidInput, match=message):
        await files.check(await artifacts.put(content), "archive")
    left = sorted(path for path in tmp_path.rglob("*") if "artifacts" not in path.parts)
    assert {path.name for path in set(left) - set(before)} <= {"files", LOCK}
