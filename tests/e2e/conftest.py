"""One whole stack for all end-to-end tests, with a champion of digits-cnn that answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded.stack import Stack
from tests.house import House

ARMED = ("gateway", "inference")
TO_ITSELF = {"WEBHOOK_INSIDE": "true", "WEBHOOK_FIRST_SECONDS": "0.2", "DEFERRED_LEASE_SECONDS": "2"}


@pytest.fixture(scope="package")
def failpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each service that a test kills; a file there arms a point."""
    folder = tmp_path_factory.mktemp("failpoints")
    for service in ARMED:
        (folder / service).mkdir()
    return folder


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory, failpoints: Path) -> Iterator[House]:
    settings = {service: {"FAILPOINTS": str(failpoints / service)} for service in ARMED}
    settings["inference"] |= TO_ITSELF
    stack = Stack(tmp_path_factory.mktemp("e2e"), settings=settings)
    try:
        stack.up()
        yield House(stack)
    finally:
        stack.down()


@pytest.fixture(scope="package")
def champion(house: House) -> int:
    """The version of digits-cnn that answers."""
    task = house.train("champion", epochs=6)
    return int(house.wait_served(task)["version"])
