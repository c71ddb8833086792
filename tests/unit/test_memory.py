"""What models take is that of the processes that run them, told from all others by their command lines."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from services.inference.resources.memory import STUB, Processes
from tests.house import until

Start = Callable[[Path, str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process with the command line of one in which Triton runs a version of a repository."""
    started: list[subprocess.Popen[bytes]] = []

    def start(repository: Path, name: str) -> "subprocess.Popen[bytes]":
        runtime = repository / name / "1" / "model.py"
        runtime.parent.mkdir(parents=True, exist_ok=True)
        runtime.write_text("read nothing")
        started.append(subprocess.Popen([f"/triton/{STUB}", runtime], executable="/bin/sh", stdin=subprocess.PIPE))
        until(psutil.Process(started[-1].pid).cmdline, what="its command line")
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def test_processes_of_this_repository_count_for_their_version(tmp_path: Path, start: Start) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    first, second = start(here, "default.m.1"), start(here, "default.m.1")
    start(here, "default.n.2")
    start(other, "default.m.1")
    found = Processes(here)
    measured = found.measure()
    memory = sum(psutil.Process(each.pid).memory_info().rss for each in (first, second))
    assert {name: count for name, (_, count) in measured.items()} == {"default.m.1": 2, "default.n.2": 1}
    assert measured["default.m.1"][0] == pytest.approx(memory, rel=0.5)
    first.kill()
    first.communicate()
    start(here, "default.n.2")
    assert {name: count for name, (_, count) in found.measure().items()} == {"default.m.1": 1, "default.n.2": 2}


def test_a_process_without_a_command_line_yet_is_looked_at_again(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path, "default.m.1")
    found = Processes(tmp_path)
    with monkeypatch.context() as moment:
        moment.setattr(psutil.Process, "cmdline", lambda _: [])
        assert found.measure() == {}
    assert [*found.measure()] == ["default.m.1"]
