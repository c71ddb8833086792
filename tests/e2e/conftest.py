"""One whole stack for all end-to-end tests, with a champion of digits-cnn that answers."""

from collections.abc import Iterator

import pytest

from deploy.embedded.stack import Stack
from tests.house import House


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    stack = Stack(tmp_path_factory.mktemp("e2e"))
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
