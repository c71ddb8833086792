"""Wheels of others bring members to the library by entry point: listed, prepared and trained as its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest

import library
from library.files import unpack
from shared.tasks.process import task_process
from shared.worker import Failure, Result
from tests.wheels import EXAMPLE, ROOT, build, pip

OWN = {resolve_name(member).name for member in library.MODELS}
LIST = """
import asyncio, sys
from services.trainer.handlers import list_library
from shared.rpc.trainer import ListLibrary
print(asyncio.run(list_library(ListLibrary(), None)).model_dump_json())
assert "torch" not in sys.modules
"""
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "0.1"
[project.entry-points."aimass.library"]
{entries}
[tool.setuptools]
py-modules = {modules}
"""
Install = Callable[[Path], None]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


@pytest.fixture
def install(tmp_path: Path, target: Path) -> Install:
    """Build a wheel of a project and install it into the target folder."""

    def make(project: Path) -> None:
        wheel = build(project, Path(tempfile.mkdtemp(dir=tmp_path)))
        pip("install", "--no-deps", "--no-index", "--target", target, wheel)

    return make


def project(folder: Path, name: str, sources: dict[str, str]) -> Path:
    """A project of modules, each with an entry point of its own name for its `Member`."""
    folder.mkdir()
    entries = "\n".join(f'{module.replace("_", "-")} = "{module}:Member"' for module in sources)
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name, modules=list(sources), entries=entries))
    for module, source in sources.items():
        (folder / f"{module}.py").write_text(source)
    return folder


def listed(target: Path) -> dict[str, Any]:
    """The library as a trainer with this folder on its path answers."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(target)])}
    found = subprocess.run([sys.executable, "-c", LIST], env=environment, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def names(answer: dict[str, Any]) -> set[str]:
    return {member["name"] for member in answer["members"]}


async def task(module: str, spec: dict[str, Any], folder: Path) -> Result:
    """Run a task's process to its end, in the environment that the service gives it."""
    lines: list[str] = []

    async def log(_: str, line: str) -> None:
        lines.append(line)

    async with task_process(module, spec, folder, log) as process:
        while report := await process.next_report():
            if isinstance(report, Result):
                return report
            assert not isinstance(report, Failure), report
    raise AssertionError("\n".join(lines))


async def test_a_wheel_brings_a_model_and_its_data_set(
    install: Install, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(EXAMPLE)
    answer = listed(target)
    assert answer["problems"] == []
    assert names(answer) == {*OWN, "wine-linear"}
    wine = next(member for member in answer["members"] if member["name"] == "wine-linear")
    assert wine["config_schema"]["properties"]["epochs"]["maximum"] == 10_000
    assert wine["example"]["inputs"][0]["shape"] == [1, 13]

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(target)]))
    work = tmp_path / "work"
    work.mkdir()
    prepared = await task("library.preparation", {"dataset": "wine"}, work)
    assert prepared.data["sizes"] == {"train": 90, "validation": 35, "test": 53}
    spec = {"task_id": "t", "model": "wine-linear", "config": {"epochs": 1}, "train": "train.npz"}
    trained = await task("services.trainer.engine", spec | {"validation": "validation.npz"}, work)
    assert (work / trained.files["model"]).read_bytes()
    assert trained.data["signature"]["inputs"][0] == {"name": "measures", "datatype": "FP32", "shape": [-1, 13]}
    assert set(np.unique(unpack(work / "test.npz")["grower"])) == {0, 1, 2}


async def test_the_process_of_a_task_knows_no_wheel_that_the_service_does_not(
    install: Install, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(EXAMPLE)
    monkeypatch.chdir(target)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), "", "."]))
    with pytest.raises(AssertionError, match="no data set 'wine'"):
        await task("library.preparation", {"dataset": "wine"}, tmp_path)


BROKEN = {
    "does_not_import": ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    "leaves": ("raise SystemExit(3)", "SystemExit: 3"),
    "is_absent": ("", "has no attribute 'Member'"),
    "is_no_member": ("Member = dict", "neither a Model nor a DataSet"),
    "is_unfinished": ("from library.base import Model\nclass Member(Model): pass", "abstract"),
    "has_no_facts": (
        "from library.base import Model\nclass Member(Model):\n def build(self, c): ...\n def example(self): ...",
        "has no attribute 'name'",
    ),
    "takes_a_name": ("from library.members.digits_cnn import DigitsCnn as Member", "'digits-cnn' is there already"),
    "takes_a_data_set": ("from library.data.digits import Digits as Member", "'digits' is there already"),
    "has_no_data_set": (
        "from library.members.digits_cnn import DigitsCnn\nclass Member(DigitsCnn):\n name = 'x'\n dataset = 'nowhere'",
        "no data set 'nowhere'",
    ),
    "reads_no_column": (
        "from library.members.digits_cnn import DigitsCnn\n"
        "class Member(DigitsCnn):\n name = 'x'\n dataset = 'diabetes'",
        "are no columns of its data set",
    ),
    "has_a_hostile_name": (
        "from library.members.digits_cnn import DigitsCnn\nclass Member(DigitsCnn):\n name = 'a.>/..'",
        "name",
    ),
}


def test_what_is_broken_or_clashes_is_left_out_with_a_reason_and_harms_nobody(
    install: Install, target: Path, tmp_path: Path
) -> None:
    install(EXAMPLE)
    install(project(tmp_path / "broken", "broken", {name: source for name, (source, _) in BROKEN.items()}))
    answer = listed(target)
    assert names(answer) == {*OWN, "wine-linear"}
    problems = dict(problem.removeprefix("broken 0.1: ").split(" was left out: ") for problem in answer["problems"])
    assert problems.keys() == {name.replace("_", "-") for name in BROKEN}
    for name, (_, reason) in BROKEN.items():
        assert reason in problems[name.replace("_", "-")]


def test_between_two_wheels_the_first_by_name_keeps_a_name(install: Install, target: Path, tmp_path: Path) -> None:
    source = "from library.members.digits_cnn import DigitsCnn\nclass Member(DigitsCnn):\n name = 'mine'"
    for wheel in ("wheel-b", "wheel-a"):
        install(project(tmp_path / wheel, wheel, {wheel.replace("-", "_"): source}))
    answer = listed(target)
    assert names(answer) == {*OWN, "mine"}
    (problem,) = answer["problems"]
    assert problem == "wheel-b 0.1: wheel-b was left out: ValueError: the model 'mine' is there already, from wheel_a"
