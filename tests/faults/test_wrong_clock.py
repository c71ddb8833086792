"""A trainer whose clock is ten minutes wrong neither takes what another holds nor loses what it holds itself.

It is the last file by its name, as its longer training makes a champion that those of the other files would not beat.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from deploy.embedded.ports import free_port
from tests.faults.conftest import LEASE
from tests.faults.job import CONFIG, finish
from tests.faults.mixed import skew
from tests.faults.table import trial
from tests.faults.test_frozen import row
from tests.house import House, until

WRONG_SECONDS = 600
HELD_SECONDS = 3 * float(LEASE["LEASE_SECONDS"])


@pytest.fixture
def preload() -> Path:
    try:
        return skew.library()
    except skew.NoSkew as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=[-WRONG_SECONDS, WRONG_SECONDS])
def wrong(house: House, preload: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """The pid of another trainer beside the stack's own, which is ahead or behind."""
    launch = json.loads(house.stack.home.launch_file("trainer").read_text())
    port = free_port()
    own = {"TRAINER_OPS_PORT": str(port), "TRAINER_HOME_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    own |= skew.environment(preload, tmp_path / "clock")
    skew.set_clock(tmp_path / "clock", request.param)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            launch["argv"], cwd=tmp_path, env=launch["environment"] | own, stdout=log, stderr=log
        )
    until(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200, what="the second trainer")
    told = json.loads((tmp_path / "log").read_text().splitlines()[0])["timestamp"]
    off = (datetime.fromisoformat(told) - datetime.now(UTC)).total_seconds()
    assert abs(off - request.param) < WRONG_SECONDS / 2, f"its clock is {off:.0f} s off"
    yield process.pid
    process.terminate()
    process.wait(60)


def holder(house: House, task: str) -> int:
    return int(str(row(house, task)["lease_owner"] or "-0").rpartition("-")[2])


def test_leases_hold_while_the_clock_of_one_is_wrong(house: House, wrong: int) -> None:
    """Held by one while the other waits; then the right one dies, and whoever goes on ends the task as ever."""
    with trial("clock of a trainer 10 min wrong, beside one that is right"):
        task = house.train(f"wrong-{wrong}", **CONFIG | {"epochs": 60})
        first = until(lambda: holder(house, task), what="a holder")
        fence = row(house, task)["fence"]
        time.sleep(HELD_SECONDS)
        assert row(house, task)["fence"] == fence, "taken from one who lives"
        print(f"held {HELD_SECONDS:g} s by {'the wrong' if first == wrong else 'the right'} one")
        house.stack.kill("trainer")
        finish(house, task)
