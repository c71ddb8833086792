"""A stack of its own for the faults, with a short lease."""

from collections.abc import Iterator

import pytest

from deploy.embedded.stack import Stack
from tests.house import House

LEASE = {"LEASE_SECONDS": "2"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = {"trainer": LEASE, "evaluator": LEASE, "inference": {"NODE_LEASE_SECONDS": "2"}}
    stack = Stack(tmp_path_factory.mktemp("faults"), settings=settings)
    stack.up()
    yield House(stack)
    stack.down()
