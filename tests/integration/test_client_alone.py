"""The client as other people install it: its wheel and what the wheel asks for, in an environment of its own."""

import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.wheels import ROOT, build, pip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT / "sdk", tmp_path_factory.mktemp("wheels"))


def asked_for(found: Distribution, extras: frozenset[str], seen: dict[str, Distribution]) -> dict[str, Distribution]:
    """What a distribution asks for with these extras, and what that asks for, as it is installed here."""
    for wanted in map(Requirement, found.requires or ()):
        is_meant = wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras | {""})
        if is_meant and wanted.name not in seen:
            seen[wanted.name] = distribution(wanted.name)
            asked_for(seen[wanted.name], frozenset(wanted.extras), seen)
    return seen


def copied(found: Distribution, packages: Path) -> None:
    """The files of an installed distribution, without its commands, at another place."""
    for file in found.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(found.locate_file(file)), target)


def installed(wheel: Path, folder: Path, *extras: str) -> Path:
    """The bin folder of an environment with the wheel and what it asks for; nothing is fetched."""
    venv.create(folder, with_pip=False)
    pip("--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (own,) = Distribution.discover(name="aimass", path=[str(packages)])
    for found in asked_for(own, frozenset(extras), {}).values():
        copied(found, packages)
    return folder / "bin"


def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """The end of a command that sees nothing of this checkout, and whatever shell it was started from."""
    environment = {"HOME": "/nowhere", "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment, cwd="/")


def test_alone_it_needs_httpx_and_says_what_the_command_needs(wheel: Path, tmp_path: Path) -> None:
    commands = installed(wheel, tmp_path / "alone")
    code = "import aimass; aimass.Client('http://127.0.0.1:1', 'x').close(); aimass.AsyncClient('http://x', 'x')"
    assert ran(commands / "python", "-c", code).returncode == 0
    for command in ((commands / "aimass",), (commands / "python", "-m", "aimass")):
        refused = ran(*command, "--help")
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert "pip install 'aimass[cli]'" in refused.stderr


def test_with_the_extra_there_is_a_command(wheel: Path, tmp_path: Path) -> None:
    commands = installed(wheel, tmp_path / "with", "cli")
    helped = ran(commands / "aimass", "--help")
    assert helped.returncode == 0, helped.stderr
    for name in ("login", "train", "logs", "deploy", "predict", "events"):
        assert f"  {name} " in helped.stdout
    assert ran(commands / "aimass", "--version").stdout == "0.1.0\n"
    assert "_aimass_completion" in ran(commands / "aimass", "--show-completion", "bash").stdout
    assert ran(commands / "aimass", "train").returncode == 2
