"""The state of an earlier commit's stack, taken over by this one: data is kept and the model goes on answering."""

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deploy.backup.making import Making
from deploy.backup.restoring import Restoring
from deploy.bootstrap import ROOT
from deploy.embedded.stack import Stack
from tests.house import House, until
from tests.integration import checkouts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FIRST_WHOLE_STACK = "d8796c7"
IMAGE = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [float(n % 17) for n in range(64)]}


def earlier(commit: str, folder: Path) -> Path:
    """The checkout as it was, with the packages of now."""
    found = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True)
    if found.returncode != 0:
        pytest.skip(f"no commit {commit} here: {found.stderr.decode()}")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(folder, filter="data")
    for name in checkouts.ENVIRONMENTS:
        (folder / name).symlink_to(ROOT / name)
    return folder


def embedded(checkout: Path, command: str, home: Path) -> None:
    ended = checkouts.python(checkout, "-m", "deploy.embedded", command, "--home", str(home))
    assert ended.returncode == 0, ended


def predict(house: House) -> Any:
    """What the champion says of one image, once it answers."""

    def answered() -> Any:
        response = house.http.post("/v2/models/digits-cnn/infer", json={"inputs": [IMAGE]})
        return response.json()["outputs"] if response.status_code == 200 else None

    return until(answered, what="the champion to answer")


def judged(house: House, version: int) -> bool:
    found = house.http.get("/api/v1/evaluations", params={"model": "digits-cnn"}).json()["evaluations"]
    return any(one["version"] == version and one["passed"] is not None for one in found)


@pytest.mark.parametrize("commit", [FIRST_WHOLE_STACK, "HEAD~1"])
def test_state_of_an_earlier_commit_is_taken_over(tmp_path: Path, commit: str) -> None:
    old, home = earlier(commit, tmp_path / "earlier"), tmp_path / "state"
    try:
        embedded(old, "up", home)
        house = House(Stack(home))
        task = house.train("before", epochs=6)
        version, prediction = house.wait_served(task)["version"], predict(house)
        embedded(old, "down", home)
        Stack(home).up()
        house = House(Stack(home))
        assert (house.wait_served(task)["version"], predict(house)) == (version, prediction)
        assert house.task(task)["state"] == "succeeded"
        assert house.wait_task(house.train("after", epochs=6))["state"] == "succeeded"
        until(lambda: judged(house, version + 1), what="the next version to be judged, for better or for worse")
    finally:
        Stack(home).down()


def test_a_backup_of_an_earlier_commit_is_put_back(tmp_path: Path) -> None:
    """Taken by this one while the earlier one runs; migrations come with the first start."""
    old, home = earlier(FIRST_WHOLE_STACK, tmp_path / "earlier"), tmp_path / "state"
    new = Stack(tmp_path / "restored")
    try:
        embedded(old, "up", home)
        house = House(Stack(home))
        task = house.train("before", epochs=6)
        version, prediction = house.wait_served(task)["version"], predict(house)
        backup = Making(Stack(home), tmp_path / "backups").make()
        embedded(old, "down", home)
        Restoring(backup, new).restore()
        new.up()
        house = House(new)
        assert (house.wait_served(task)["version"], predict(house)) == (version, prediction)
        assert house.wait_task(house.train("after", epochs=6))["state"] == "succeeded"
    finally:
        Stack(home).down()
        new.down()
