"""A canary pickle in every costume, at each process that reads what somebody brought: it is refused and never loaded.

Over HTTP the same is in `tests/e2e/test_canaries.py`.
"""

import ast
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from services.registry.files import Files
from services.registry.settings import Settings
from shared.artifacts import Artifacts
from shared.errors import InvalidInput
from shared.events.common import Signature, TensorSpec
from shared.tasks.scratch import LOCK
from tests.security.costumes import COSTUMES, Canary, dressed
from tests.unit.task_process import run

MEMORY = 2**31
READERS: dict[str, tuple[str, dict[str, Any]]] = {
    "a batch's rows": (
        "services.inference.batch.reading",
        {
            "signature": Signature(
                inputs=(TensorSpec(name="x", datatype="BYTES", shape=(-1, 1)),), outputs=()
            ).model_dump(mode="json"),
            "part_rows": 10,
            "skip": 0,
            "limits": {"rows": 10, "bytes": 10**6, "memory": MEMORY, "cpu_seconds": 20},
        },
    ),
    "a data set's rows": ("library.preparation", {"dataset": "digits", "name": "own"}),
}
# Text that a table of text may hold: it goes to the model as text, which is no loading.
IS_A_TABLE = {"csv", "json", "parquet", "base64", "a data URL", "yaml"}


@pytest.fixture
async def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(f"file://{tmp_path}/artifacts")


@pytest.fixture
async def files(artifacts: Artifacts, tmp_path: Path) -> AsyncIterator[Files]:
    yield Files(artifacts, Settings(home_dir=tmp_path, check_seconds=18))
    root = tmp_path / "files"
    assert [path for path in root.iterdir() if path.name != LOCK] == []


@pytest.mark.parametrize("protocol", range(6))
def test_the_canary_would_sing(tmp_path: Path, protocol: int) -> None:
    """Else nothing here would show anything."""
    pickle.loads(pickle.dumps(Canary(tmp_path / "loaded"), protocol))  # noqa: S301
    assert (tmp_path / "loaded").exists()


@pytest.mark.parametrize("costume", COSTUMES)
@pytest.mark.parametrize("kind", ["onnx", "archive"])
async def test_no_model_is_a_pickle(
    files: Files, artifacts: Artifacts, tmp_path: Path, costume: str, kind: Literal["onnx", "archive"]
) -> None:
    sentinel = tmp_path / "loaded"
    with pytest.raises(InvalidInput, match="refused") as refused:
        await files.check(await artifacts.put(dressed(costume, sentinel)), kind)
    assert refused.value.field == "file"
    assert not sentinel.exists()


@pytest.mark.parametrize("costume", COSTUMES)
@pytest.mark.parametrize("reader", READERS)
def test_no_rows_are_a_pickle(tmp_path: Path, costume: str, reader: str) -> None:
    module, spec = READERS[reader]
    folder, sentinel = tmp_path / "work", tmp_path / "loaded"
    folder.mkdir()
    (folder / "brought").write_bytes(dressed(costume, sentinel))
    ended = run(module, spec | {"file": "brought", "format": None}, folder)
    assert not sentinel.exists()
    if costume in IS_A_TABLE and ended.code == 0:
        return
    assert ended.failure.error == "Unfit", ended.failure
    assert [path.name for path in folder.iterdir()] == ["brought"]


ROOT = Path(__file__).parents[2]
OURS = ("services", "shared", "library", "deploy", "sdk/aimass", "examples")
LOADERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal", "jsonpickle"}
EXCEPTIONS = {
    "library/sources/frames.py": "a reader that knows eleven names, none of which acts",
    "library/networks/efficientnet.py": "weights of an archive whose digest stands in the source",
    "services/trainer/on_ray/footholds.py": "ray pickles code of ours on its way to its workers",
}


def loads_code(tree: ast.AST) -> list[str]:
    """Where a source can bring a pickle to life: by import, by torch.load, or by an array of objects."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in LOADERS]
        if isinstance(node, ast.ImportFrom):
            names = {node.module or "", *(alias.name for alias in node.names)}
            found += sorted(name for name in names if name.partition(".")[0] in LOADERS)
        if isinstance(node, ast.Attribute) and node.attr in ("load", "hub") and ast.unparse(node.value) == "torch":
            found.append(f"torch.{node.attr}")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append("allow_pickle")
        if isinstance(node, ast.Attribute) and node.attr in ("read_pickle", "to_pickle", "unsafe_load"):
            found.append(node.attr)
    return found


def sources() -> dict[str, Path]:
    paths = [path for folder in OURS for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)): path for path in paths}


def test_nothing_of_ours_loads_a_pickle() -> None:
    found = {name: loads_code(ast.parse(path.read_text())) for name, path in sources().items()}
    assert {name for name, calls in found.items() if calls} == EXCEPTIONS.keys()


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from joblib import load", "import torch\ntorch.load('x')", "from ray import cloudpickle"),
        *("import numpy as np\nnp.load('x', allow_pickle=True)", "import pandas\npandas.read_pickle('x')"),
        "import torch\ntorch.hub.load('x', 'y')",
    ],
)
def test_what_loads_a_pickle_is_seen(source: str) -> None:
    assert loads_code(ast.parse(source))
