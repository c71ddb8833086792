"""The API as its document says: no failure of ours, no status, type or shape that is not written there."""

from collections.abc import Iterator

import pytest

from deploy.embedded.stack import Stack
from shared.permissions import Role
from tests.schema.walk import ROLES, walk

QUICK = ("--phases", "fuzzing", "--max-examples", "1", "--seed", "1")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("walk"))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.mark.parametrize("role", ROLES)
def test_every_route_answers_as_documented(stack: Stack, role: Role) -> None:
    found = walk(stack, role, QUICK)
    assert found.is_clean, found.told
    assert found.cases > 170
