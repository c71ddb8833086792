"""Starts that were cut off, and what a machine that lost its power leaves behind: the next start works."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from deploy.bootstrap import ROOT
from deploy.embedded import processes
from deploy.embedded.home import Home
from deploy.embedded.stack import Stack
from tests.integration.test_setup import STORES, UP, seeded, silent


class TestInterruptedUp:
    """A first `up` that is killed, with or without all it has started."""

    @staticmethod
    def kill_up_after(home: Path, seconds: float) -> None:
        code = UP.format(home=f"{str(home)!r}, ", parts=STORES, verb="up")
        command = [sys.executable, "-c", code]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            process.kill()

    @staticmethod
    def kill_manager(home: Path) -> None:
        """As an end of the machine would: children die with the manager."""
        for process in psutil.process_iter(["cmdline"]):
            if str(home / "run" / "supervisord.conf") in (process.info["cmdline"] or []):
                process.kill()

    @pytest.mark.parametrize("everything", [False, True])
    def test_the_next_one_works(self, tmp_path: Path, everything: bool) -> None:
        moments, stack = seeded(), Stack(tmp_path, parts=STORES, say=silent)
        try:
            for latest in (1.0, 2.0, 4.0):
                self.kill_up_after(tmp_path, moments.uniform(0.1, latest))
                if everything:
                    self.kill_manager(tmp_path)
            stack.up()
            with psycopg.connect(stack.info["postgres"]) as connection:
                assert connection.execute("SELECT count(*) FROM auth.outbox").fetchone() == (0,)
        finally:
            stack.down()
        assert not any(str(tmp_path) in " ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))


class TestRemains:
    def test_stale_files_and_a_clock_that_went_back_are_no_obstacle(self, tmp_path: Path) -> None:
        stack = Stack(tmp_path, parts=STORES, say=silent)
        try:
            stack.up()
            stack.down()
            with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
                self.leave_remains(stack.home, stranger.pid)
                self.age(tmp_path, seconds=-86400)
                stack.up()
                assert stranger.poll() is None
                stranger.kill()
            assert stack.is_ready("nats") and stack.is_ready("postgres")
        finally:
            stack.down()

    @staticmethod
    def leave_remains(home: Home, pid: int) -> None:
        """What a machine that lost its power leaves, with pids that somebody else has now."""
        mark = processes.identity(pid)
        assert mark is not None
        with socket.socket(socket.AF_UNIX) as listener:
            home.socket.unlink(missing_ok=True)
            listener.bind(str(home.socket))
        home.processes_file.write_text(json.dumps({"supervisord": f"{mark}0"}))
        home.stack_file.write_text("{}")
        (home.folder("run") / "supervisord.pid").write_text(f"{pid}\n")
        (home.cluster / "postmaster.pid").write_text(f"{pid}\n{home.cluster}\n0\n")
        (home.path / "postgres" / "data.draft").mkdir()

    @staticmethod
    def age(home: Path, seconds: float) -> None:
        """Give every file the time that it would have if the clock had gone back since."""
        moment = time.time() - seconds
        for path in home.rglob("*"):
            os.utime(path, (moment, moment), follow_symlinks=False)
