"""A backup of the whole system while a model is trained: the training goes on in the restored one as if undisturbed."""

from pathlib import Path

import pytest

from deploy.backup.making import Making
from deploy.backup.restoring import Restoring
from deploy.embedded.stack import Stack
from tests.audit import UNDISTURBED
from tests.faults.job import CONFIG, settled
from tests.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_training_goes_on_in_the_restored_system(tmp_path: Path) -> None:
    first, second = Stack(tmp_path / "first"), Stack(tmp_path / "second")
    try:
        first.up()
        house = House(first)
        task = house.train("before", **CONFIG | {"epochs": 12})
        until(lambda: house.task(task)["progress"] > 0.2, what="the training to be under way")
        backup = Making(first, tmp_path / "backups").make()
        assert house.task(task)["state"] == "running"
        served = house.wait_served(task)
        first.down()
        Restoring(backup, second).restore()
        second.up()
        house = House(second)
        assert house.wait_task(task)["attempt"] > 1
        assert house.wait_served(task)["digest"] == served["digest"]
        assert settled(house, task, whole=True) == UNDISTURBED
    finally:
        first.down()
        second.down()
