"""A pickle that tells on whoever loads it, in every costume in which one has come to somebody: files, as bytes."""

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from tests.integration import onnx_models


class Canary:
    """Loaded, it makes a file: without a shell, and without another program."""

    def __init__(self, sentinel: Path) -> None:
        self._sentinel = str(sentinel)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self._sentinel,)


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def safetensors(header: dict[str, Any], body: bytes, length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def npy_of_objects(body: bytes) -> bytes:
    np.lib.format.write_array_header_1_0(buffer := io.BytesIO(), {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return buffer.getvalue() + body


def npz_of_objects(body: bytes) -> bytes:
    return zipped({f"{name}.npy": npy_of_objects(body) for name in ("x", "image", "id", "text")})


def parquet(body: bytes) -> bytes:
    import pyarrow
    from pyarrow import parquet as files

    files.write_table(pyarrow.table({"x": [body], "id": [body]}), buffer := io.BytesIO())
    return buffer.getvalue()


def in_onnx(body: bytes) -> bytes:
    """A model whose metadata, doc string, and constants are the pickle, and whose operator would load it."""
    model = ModelProto.FromString(onnx_models.affine().onnx)
    model.metadata_props.add(key="pickle", value=base64.b64encode(body).decode())
    model.graph.node.append(helper.make_node("PyOp", ["x"], ["p"], domain="ai.onnx.contrib", code=body))
    model.graph.output.append(helper.make_tensor_value_info("p", 1, None))
    model.opset_import.add(domain="ai.onnx.contrib", version=1)
    return bytes(model.SerializeToString())


KERAS = {"metadata.json": b'{"keras_version": "3.9"}', "model.weights.h5": b"\x89HDF\r\n\x1a\n"}
WEIGHT = {"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}
MANIFEST = b'{"format": "aimass.version/1"}'
LEGACY_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
COSTUMES: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda body: body,
    "after a space": lambda body: b"\n" + body,
    "zip": lambda body: zipped({"data.pkl": body}),
    "torch zip (.pt, .pth)": lambda body: zipped({"archive/data.pkl": body, "archive/version": b"3\n"}),
    "torch of before 1.6": lambda body: LEGACY_TORCH + body,
    "keras (.keras)": lambda body: zipped(KERAS | {"config.json": lambda_layer(body)}),
    "hdf5 (.h5)": lambda body: b"\x89HDF\r\n\x1a\n" + bytes(88) + body,
    "joblib, zlib": zlib.compress,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "tar": lambda body: tarred({"data.pkl": body}),
    "tar, gzip": lambda body: tarred({"data.pkl": body}, "w:gz"),
    "npy of objects": npy_of_objects,
    "npz of objects": npz_of_objects,
    "safetensors with it as metadata": lambda body: safetensors(
        {"__metadata__": {"pickle": base64.b64encode(body).decode()}} | WEIGHT, body
    ),
    "safetensors with it behind": lambda body: safetensors(WEIGHT, b"abcd" + body),
    "safetensors that lies about its header": lambda body: safetensors(WEIGHT, body, 2**40),
    "safetensors with shared bytes": lambda body: safetensors(WEIGHT | {"v": WEIGHT["w"]}, body),
    "gguf": lambda body: b"GGUF" + struct.pack("<IQQ", 3, 2**62, 2**62) + body,
    "base64": base64.b64encode,
    "a data URL": lambda body: b"data:application/octet-stream;base64," + base64.b64encode(body),
    "json": lambda body: json.dumps({"py/reduce": base64.b64encode(body).decode()}).encode(),
    "yaml": lambda body: b"!!python/object/apply:pickle.loads [!!binary " + base64.b64encode(body) + b"]",
    "csv": lambda body: b"x,id,text\n" + base64.b64encode(body) + b",1,2\n",
    "parquet": parquet,
    "an exported version": lambda body: zipped(
        {"manifest.json": b'{"format": "aimass.version/1"}', "model.onnx": body}
    ),
    "an operator of onnx": in_onnx,
    "a zip in a zip": lambda body: zipped({"inner.zip": zipped({"data.pkl": body})}),
    "7z": lambda body: b"7z\xbc\xaf\x27\x1c" + body,
}

# One of each kind of reader, for the second of two routes that read alike.
FEW = ("plain", "torch zip (.pt, .pth)", "npz of objects", "an operator of onnx", "parquet", "gguf")


def lambda_layer(body: bytes) -> bytes:
    """What Keras would unmarshal (CVE-2025-1550)."""
    code = {"class_name": "__lambda__", "config": {"code": base64.b64encode(body).decode()}}
    return json.dumps({"module": "builtins", "class_name": "Lambda", "config": {"function": code}}).encode()


def dressed(name: str, sentinel: Path, protocol: int = 4) -> bytes:
    """The canary in this costume."""
    return COSTUMES[name](pickle.dumps(Canary(sentinel), protocol))
