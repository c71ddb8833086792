"""A trainer frozen past its lease and thawed beside its successor writes nothing more, and ends its process."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.embedded.ports import free_port
from tests.faults.job import CONFIG, finish
from tests.faults.table import trial
from tests.freezing import freeze, thaw
from tests.house import House, until


@pytest.fixture
def second(house: House, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another trainer beside the stack's own."""
    launch = json.loads(house.stack.home.launch_file("trainer").read_text())
    port = free_port()
    own = {"TRAINER_OPS_PORT": str(port), "TRAINER_HOME_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            launch["argv"], cwd=tmp_path, env=launch["environment"] | own, stdout=log, stderr=log
        )
    until(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200, what="the second trainer")
    yield process
    process.terminate()
    process.wait(60)


def row(house: House, task_id: str) -> dict[str, Any]:
    columns = "fence, lease_owner, state, (SELECT count(*) FROM task_files WHERE task_id = id) AS checkpoints"
    return house.rows("trainer", f"SELECT {columns} FROM tasks WHERE id = '{task_id}'")[0]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    freeze(pid)
    try:
        yield
    finally:
        thaw(pid)


def test_frozen_past_its_lease(house: House, second: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with trial("SIGSTOP of trainer past its lease, SIGCONT beside its successor"):
        task = house.train("frozen", **CONFIG)
        held = until(lambda: (found := row(house, task))["checkpoints"] and found, what="a checkpoint")
        holder = int(held["lease_owner"].rpartition("-")[2])
        children = psutil.Process(holder).children()
        assert children
        with frozen(holder):
            until(lambda: row(house, task)["fence"] > held["fence"], what="another trainer to take over")
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive, "the process of the old holder goes on"
        assert row(house, task)["state"] == "TASK_STATE_RUNNING", "thawed after the end, which proves nothing"
        log = tmp_path / "log" if holder == second.pid else house.stack.home.log("trainer")
        until(lambda: _says_lost(log, task, held["fence"]), what="the old holder to know that it lost the task")
        finish(house, task)


def _says_lost(log: Path, task: str, fence: int) -> bool:
    """Refused by the fencing number: at its heartbeat or at a write."""
    lines = [line for line in log.read_text().splitlines() if task in line]
    return any("lease lost" in line for line in lines)
