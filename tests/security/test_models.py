"""ONNX files that hide something, or ask for more than they are: refused, within the limits, by registry's process."""

import io
import struct
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from services.registry.files import Files
from services.registry.settings import Settings
from shared.artifacts import Artifacts
from shared.errors import InvalidInput
from shared.tables.opening import open_table
from shared.tables.values import Unfit
from shared.tasks.scratch import LOCK
from tests.integration import onnx_models


@pytest.fixture
async def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(f"file://{tmp_path}/artifacts")


@pytest.fixture
async def files(artifacts: Artifacts, tmp_path: Path) -> AsyncIterator[Files]:
    yield Files(artifacts, Settings(home_dir=tmp_path, check_seconds=18))
    root = tmp_path / "files"
    assert [path for path in root.iterdir() if path.name != LOCK] == []


def altered(change: Callable[[ModelProto], None]) -> Callable[[], bytes]:
    def make() -> bytes:
        model = ModelProto.FromString(onnx_models.affine().onnx)
        change(model)
        return bytes(model.SerializeToString())

    return make


def outside(location: str = "/etc/hostname") -> TensorProto:
    tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [0.0])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def in_a_function(model: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=outside())
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Hidden", [], ["c"], [node], opset))


def in_a_sparse_tensor(model: ModelProto) -> None:
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(outside(), indices, [4]))


def in_a_sparse_attribute(model: ModelProto) -> None:
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(outside(), indices, [4])
    model.graph.node.append(helper.make_node("Constant", [], ["c"], sparse_value=sparse))


def in_training_info(model: ModelProto) -> None:
    model.training_info.add().initialization.initializer.append(outside())


def in_a_list_of_graphs(model: ModelProto) -> None:
    graph = helper.make_graph([], "g", [], [], [outside()])
    model.graph.node.append(helper.make_node("Identity", ["x"], ["z"], graphs=[graph]))


def in_a_list_of_tensors(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["x"], ["z"], tensors=[outside("../../x")]))


def twice_an_initializer(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 3), "<f4"), "w"))


def twice_an_output(model: ModelProto) -> None:
    model.graph.output.append(model.graph.output[0])


def twice_a_node(model: ModelProto) -> None:
    model.graph.node.append(model.graph.node[-1])


def lying_about_its_size(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**31, 2**31]


def negative_size(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [-4, -3]


def empty_parts(count: int) -> bytes:
    """A message of two bytes costs its parser a hundred."""
    nodes = b"\x0a\x00" * count
    size = len(nodes)
    length = b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return b"\x08\x09\x3a" + length + bytes([size]) + nodes


TRICKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "external data of a function": (altered(in_a_function), "outside the file"),
    "external data of a sparse tensor": (altered(in_a_sparse_tensor), "outside the file"),
    "external data of a sparse attribute": (altered(in_a_sparse_attribute), "outside the file"),
    "external data of training": (altered(in_training_info), "outside the file"),
    "external data in a list of graphs": (altered(in_a_list_of_graphs), "outside the file"),
    "external data in a list of tensors": (altered(in_a_list_of_tensors), "outside the file"),
    "an initializer twice": (altered(twice_an_initializer), "refused"),
    "an output twice": (altered(twice_an_output), "refused"),
    "a node twice": (altered(twice_a_node), "refused"),
    "a tensor that lies about its size": (altered(lying_about_its_size), "refused"),
    "a tensor of negative size": (altered(negative_size), "refused"),
    "forty million empty parts": (lambda: empty_parts(40_000_000), "refused|limits|within"),
    "a length beyond the file": (lambda: b"\x08\x09\x3a\xff\xff\xff\xff\x07", "refused"),
}


@pytest.mark.parametrize("name", TRICKS)
async def test_what_a_model_hides_is_found(files: Files, artifacts: Artifacts, name: str) -> None:
    make, words = TRICKS[name]
    with pytest.raises(InvalidInput, match=words):
        await files.check(await artifacts.put(make()), "onnx")


def expanding(size: int) -> bytes:
    """A small file that needs size times size floats to run."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], keepdims=1),
        helper.make_node("Expand", ["m", "square"], ["big"]),
        helper.make_node("ReduceMean", ["big"], ["y"], keepdims=1),
    ]
    square = numpy_helper.from_array(np.array([size, size], np.int64), "square")
    shapes = [value("x", TensorProto.FLOAT, [1, 1])], [value("y", TensorProto.FLOAT, [1, 1])]
    graph = helper.make_graph(nodes, "graph", *shapes, [square])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


async def test_a_model_beyond_its_memory_is_refused(artifacts: Artifacts, tmp_path: Path) -> None:
    """One that the machine has room for, so that nothing but the limit can refuse it."""
    files = Files(artifacts, Settings(home_dir=tmp_path, check_seconds=18, check_memory=2**31))
    assert await files.check(await artifacts.put(expanding(2**10)), "onnx")
    with pytest.raises(InvalidInput, match="refused|limits"):
        await files.check(await artifacts.put(expanding(25_000)), "onnx")


def test_arrays_a_thousand_times_their_file_are_refused(tmp_path: Path) -> None:
    shape = {"descr": "<f4", "fortran_order": False, "shape": (300 * 2**18,)}
    np.lib.format.write_array_header_1_0(header := io.BytesIO(), shape)
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(300 * 2**20))
    with pytest.raises(Unfit, match="times the file"):
        open_table(tmp_path / "bomb", "npz")


def test_a_directory_that_lies_about_sizes_gives_nothing(tmp_path: Path) -> None:
    np.savez_compressed(path := tmp_path / "lies.npz", x=np.zeros(10_000_000, "<f4"))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 200)
    path.write_bytes(content)
    with pytest.raises(Unfit):
        list(open_table(path, "npz").rows(["x"], 1000))
