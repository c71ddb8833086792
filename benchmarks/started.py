"""A peer as a running process: started from its environment, checked by one answer, and gone again with all its own."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

import httpx

from benchmarks.load import Array, Refused, Target, over_http
from benchmarks.peers import Peer
from deploy.embedded import processes
from deploy.embedded.folders import short_folder
from deploy.embedded.home import read_json
from deploy.embedded.launch import Launch, base_environment, write_private
from deploy.embedded.ports import LOOPBACK, free_port
from shared.environments import Unavailable, environment

START_SECONDS = 120.0
STOP_SECONDS = 10.0
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True)
class Question:
    """The model that everybody serves, as a file, one row of its input and the right answer."""

    model: Path
    row: Array
    logits: Array


@dataclass(frozen=True)
class Grounds:
    """Where peers have their environments, logs and the record of their processes."""

    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / "peer.json"

    def log(self, peer: Peer) -> Path:
        return self.folder / f"{peer.name}.log"

    def python(self, peer: Peer) -> Path:
        return environment(self.folder / peer.folder.name, peer.lock)

    def sweep(self) -> None:
        """End what a benchmark that was killed left behind, known by pid and start time."""
        processes.kill_all(read_json(self.record))
        self.record.unlink(missing_ok=True)


@contextmanager
def started(peer: Peer, grounds: Grounds, question: Question) -> Iterator[tuple[Target, int]]:
    """The peer as a target that answers rightly, and its pid; raises Unavailable or WrongAnswer."""
    python = grounds.python(peer)
    grounds.sweep()
    with TemporaryDirectory(dir=short_folder("bench")) as folder, grounds.log(peer).open("wb") as log:
        port = free_port()
        launch = _launch(peer, python, Path(folder), question.model, port)
        command = launch.write(Path(folder) / "launch.json")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            target = _target(peer, port, question)
            _wait_right(peer, target, process, grounds)
            yield target, process.pid
        finally:
            _stop(process, grounds)


def _launch(peer: Peer, python: Path, folder: Path, model: Path, port: int) -> Launch:
    own = {"port": port, "secret": token_hex(32)}
    settings = {
        **QUIET,
        **{name: value.format(**own) for name, value in peer.settings.items()},
        "BENCH_MODEL": str(model),
        "BENCH_PORT": str(port),
        "BENCH_SECOND_PORT": str(free_port()),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
    }
    argv = [str(python), *(part.format(**own) for part in peer.command)]
    return Launch(argv, str(peer.folder), base_environment(settings))


def _target(peer: Peer, port: int, question: Question) -> Target:
    return Target(
        name=peer.label,
        url=f"http://{LOOPBACK}:{port}",
        paths=(peer.path,),
        body=peer.encode(question.row),
        headers={"Content-Type": peer.content_type},
        ask=over_http(peer.decode),
        expected=(question.logits,),
    )


def _wait_right(peer: Peer, target: Target, process: "subprocess.Popen[bytes]", grounds: Grounds) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        _record(process.pid, grounds)
        try:
            return target.check()
        except (httpx.TransportError, Refused) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"it did not come to answer ({error}): see {grounds.log(peer)}") from error
        time.sleep(0.2)


def _record(pid: int, grounds: Grounds) -> None:
    """Add what descends from it now; what was there before may have lost its parent since."""
    marks = {str(each): processes.identity(each) for each in processes.family(pid)}
    living = {name: mark for name, mark in marks.items() if mark}
    write_private(grounds.record, json.dumps(read_json(grounds.record) | living))


def _stop(process: "subprocess.Popen[bytes]", grounds: Grounds) -> None:
    """Ask it to end, then end whatever of it is left."""
    _record(process.pid, grounds)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    grounds.sweep()
