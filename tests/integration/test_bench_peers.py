"""A peer runs from an environment of its own, is measured only while it answers rightly, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks import started as starting
from benchmarks.brought import answer, digit, digits_mlp
from benchmarks.load import WrongAnswer
from benchmarks.peers import PEERS, Peer
from benchmarks.started import Grounds, Question, started
from deploy.embedded import processes
from deploy.embedded.home import read_json
from shared.environments import Unavailable, environment

pytestmark = pytest.mark.slow
DOUBLES = """
import os, signal, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])

class Doubles(BaseHTTPRequestHandler):
    def do_POST(self):
        numbers = self.rfile.read(int(self.headers["Content-Length"])).split()
        body = b" ".join(b"%d" % (2 * int(number)) for number in numbers)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["BENCH_PORT"])), Doubles).serve_forever()
"""
QUESTION = Question(Path("/none"), np.array([1, 2]), np.array([2.0, 4.0]))


@pytest.fixture
def grounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grounds:
    monkeypatch.setattr(starting, "STOP_SECONDS", 0.5)
    return Grounds(tmp_path / "bench")


def peer_of(folder: Path, server: str = DOUBLES) -> Peer:
    """A peer whose server is the given program; it needs no package, so that its lock is a comment."""
    folder.mkdir(exist_ok=True)
    (folder / "server.py").write_text(server)
    (folder / "requirements.txt").write_text("# double==1.0\n")
    return Peer(
        name="double",
        title="Double",
        package="double",
        command=("server.py",),
        path="/",
        content_type="text/plain",
        encode=lambda row: b" ".join(b"%d" % number for number in row),
        decode=lambda reply: np.array([float(number) for number in reply.content.split()]),
        how="",
        home=str(folder),
    )


def living(pids: Iterable[int]) -> dict[str, str]:
    """Those that live, by what tells them from any later process of the same pid."""
    marks = {str(pid): processes.identity(pid) for pid in pids}
    return {pid: mark for pid, mark in marks.items() if mark}


def test_a_peer_is_gone_afterwards_with_all_its_own(tmp_path: Path, grounds: Grounds) -> None:
    with started(peer_of(tmp_path / "double"), grounds, QUESTION) as (target, pid):
        target.check()
        family = living(processes.family(pid))
        assert len(family) == 2, "the server and its child"
    assert not any(map(processes.is_alive, family.values()))
    with pytest.raises(httpx.TransportError):
        target.check()


def test_a_peer_that_answers_wrongly_is_not_measured(tmp_path: Path, grounds: Grounds) -> None:
    peer, wrong = peer_of(tmp_path / "double"), replace(QUESTION, logits=np.array([3.0, 4.0]))
    with pytest.raises(WrongAnswer, match=r"\[2.0, 4.0\], not \[3.0, 4.0\]"), started(peer, grounds, wrong):
        raise AssertionError("it was started")


def test_a_peer_that_does_not_start_says_where_its_log_is(tmp_path: Path, grounds: Grounds) -> None:
    peer = peer_of(tmp_path / "double", "import nowhere")
    with pytest.raises(Unavailable, match=str(grounds.log(peer))), started(peer, grounds, QUESTION):
        raise AssertionError("it was started")
    assert "No module named 'nowhere'" in grounds.log(peer).read_text()


KILLED = """
import os, signal, sys
from pathlib import Path
from benchmarks.started import Grounds, started
from tests.integration.test_bench_peers import QUESTION, peer_of

folder = Path(sys.argv[1])
with started(peer_of(folder / "double"), Grounds(folder / "bench"), QUESTION):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_benchmark_left_is_ended_by_the_next(tmp_path: Path, grounds: Grounds) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    marks = [mark for mark in read_json(grounds.record).values() if processes.is_alive(mark)]
    assert marks, "the server dies with the benchmark, its child does not"
    grounds.sweep()
    assert not any(map(processes.is_alive, marks))
    assert not grounds.record.exists()


def test_an_environment_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("./no-such-wheel.whl\n")
    with pytest.raises(Unavailable, match="its environment could not be made: .*no-such-wheel") as refused:
        environment(tmp_path / "environment", lock)
    assert "\n" not in str(refused.value)
    with pytest.raises(Unavailable):
        environment(tmp_path / "environment", lock)


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.touch()
    python = environment(tmp_path / "environment", lock)
    mark = python.parent / "mark"
    mark.touch()
    assert environment(tmp_path / "environment", lock) == python
    assert mark.exists()
    lock.write_text("# changed\n")
    environment(tmp_path / "environment", lock)
    assert not mark.exists(), "another lock is another environment"


@pytest.mark.timeout(2700)
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_each_peer_answers_as_the_model(peer: Peer, grounds: Grounds, tmp_path: Path) -> None:
    """From the registry, with all that its lock names: the real server in its real environment."""
    model, row = tmp_path / "model.onnx", digit()
    model.write_bytes(digits_mlp())
    question = Question(model, row, answer(model.read_bytes(), row[None])[0])
    with started(peer, grounds, question) as (target, pid):
        target.check()
        family = living(processes.family(pid))
    assert not any(map(processes.is_alive, family.values()))
