"""Triton's model repository: one folder a served version, written whole or not at all."""

import json
import os
import re
import shutil
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from services.inference.numbers import DATATYPE, NUMBERS
from shared.errors import DigestMismatch, InvalidInput
from shared.events.common import Signature, TensorSpec
from shared.names import is_slug
from shared.signatures import MAX_BATCH, is_batched

RUNTIME: Final = Path(__file__).parents[2] / "deploy" / "triton" / "model.py"
STAGING: Final = ".staging"
CONFIG: Final = "config.pbtxt"
ONNX: Final = "1/model.onnx"
THREADS: Final = {"python": "intra_op_num_threads", "onnxruntime": "intra_op_thread_count"}

_COUNT: Final = re.compile(rb"(KIND_CPU count: )(\d+)( )")
_TYPES: Final = {
    "BOOL": "TYPE_BOOL",
    "BYTES": "TYPE_STRING",
    **{f"{kind}{bits}": f"TYPE_{kind}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"TYPE_FP{bits}" for bits in (16, 32, 64)},
}


class Repository:
    """The folder that Triton reads its models from; only this process writes there.

    A Triton without the onnxruntime backend gets the runtime as a model of its Python backend.
    """

    def __init__(self, root: Path, backend: str = "python") -> None:
        self._root = root
        self._backend = backend

    def prepare(self) -> None:
        """Make the folder and drop what an interrupted write has left."""
        self._root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._root / STAGING, ignore_errors=True)

    def write(
        self, name: str, signature: Signature, artifact: bytes, digest: str, threads: int = 1, instances: int = 1
    ) -> None:
        """Lay down a version under its Triton name, replacing what was there."""
        if sha256(artifact).hexdigest() != digest:
            raise DigestMismatch(f"the artifact of '{name}' does not match its digest {digest}")
        files = {
            CONFIG: config(name, signature, threads, self._backend, instances).encode(),
            ONNX: artifact,
            **({"1/model.py": RUNTIME.read_bytes()} if self._backend == "python" else {}),
        }
        target = self._folder(name)
        if not _holds(target, files):
            self._replace(target, files)

    def instances(self, name: str) -> int:
        """With how many instances Triton loads a version."""
        found = _COUNT.search((self._folder(name) / CONFIG).read_bytes())
        return int(found[2]) if found else 1

    def set_instances(self, name: str, count: int) -> None:
        """Change that alone: where no other file is newer, Triton keeps the instances that it has.

        Written in place; `write` puts right what a crash leaves here.
        """
        path = self._folder(name) / CONFIG
        _write(path, _COUNT.sub(rb"\g<1>%d\g<3>" % count, path.read_bytes()))

    def renew(self, name: str) -> None:
        """Let Triton replace the processes of a version at its next load: it keeps them where no file is newer."""
        with suppress(FileNotFoundError):  # what others have laid down
            os.utime(self._folder(name) / ONNX)

    def remove(self, name: str) -> None:
        """Forget a version; Triton must have unloaded it."""
        target = self._folder(name)
        if target.exists():
            with self._scratch() as scratch:
                target.rename(Path(scratch) / "old")
            _sync(self._root)

    def names(self) -> list[str]:
        """The Triton names of the versions that are laid down."""
        return sorted(path.name for path in self._root.iterdir() if (path / CONFIG).is_file())

    def _replace(self, target: Path, files: dict[str, bytes]) -> None:
        with self._scratch() as scratch:
            draft = Path(scratch) / "new"
            for path, content in files.items():
                _write(draft / path, content)
            _sync(draft / "1")
            _sync(draft)
            if target.exists():
                target.rename(Path(scratch) / "old")
            draft.rename(target)
        _sync(self._root)

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        staging = self._root / STAGING
        staging.mkdir(exist_ok=True)
        return tempfile.TemporaryDirectory(dir=staging)

    def _folder(self, name: str) -> Path:
        parts = name.split(".")
        if len(parts) != 3 or not all(map(is_slug, parts)):
            raise InvalidInput(f"{name!r} is no Triton name: <project>.<model>.<version>")
        return self._root / name


def config(name: str, signature: Signature, threads: int, backend: str = "python", instances: int = 1) -> str:
    """The config.pbtxt of a version."""
    batched = is_batched(signature)
    lines = [
        f'name: "{name}"',
        f'backend: "{backend}"',
        f"max_batch_size: {MAX_BATCH if batched else 0}",
        *(_tensor("input", spec, batched) for spec in signature.inputs),
        *(_tensor("output", spec, batched) for spec in signature.outputs),
        *(_numbers() if backend == "python" else ()),
        f"instance_group [ {{ kind: KIND_CPU count: {instances} }} ]",
        f'parameters {{ key: "{THREADS[backend]}" value {{ string_value: "{threads}" }} }}',
        *(["dynamic_batching { }"] if batched else []),
    ]
    return "\n".join(lines) + "\n"


def _tensor(kind: str, spec: TensorSpec, batched: bool) -> str:
    if spec.datatype not in _TYPES:
        raise InvalidInput(f"{kind} '{spec.name}' is {spec.datatype}, which the ONNX runtime model does not take")
    if spec.name == NUMBERS:
        raise InvalidInput(f"{kind} {spec.name!r} has a name that the platform uses itself")
    if not spec.name.isprintable():
        raise InvalidInput(f"the name {spec.name!r} of an {kind} must be printable")
    if not spec.shape:
        raise InvalidInput(f"{kind} '{spec.name}' has no dimensions: give it a batch axis, or at least one")
    name = json.dumps(spec.name, ensure_ascii=False)
    dimensions = _dimensions(spec.shape[1:] if batched else spec.shape)
    return f"{kind} [ {{ name: {name} data_type: {_TYPES[spec.datatype]} {dimensions} }} ]"


def _numbers() -> tuple[str, str]:
    """Optional, so that Triton can be asked directly."""
    tensor = f'name: "{NUMBERS}" data_type: {_TYPES[DATATYPE]} dims: [ 1 ]'
    return f"input [ {{ {tensor} optional: true }} ]", f"output [ {{ {tensor} }} ]"


def _dimensions(sizes: tuple[int, ...]) -> str:
    """Triton wants one dimension beside the batch, and reshapes it away for the model."""
    return f"dims: [ {', '.join(map(str, sizes))} ]" if sizes else "dims: [ 1 ] reshape: { shape: [ ] }"


def _holds(folder: Path, files: dict[str, bytes]) -> bool:
    return all((folder / path).is_file() and (folder / path).read_bytes() == files[path] for path in files)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
