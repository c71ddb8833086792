"""Ten seconds of whatever comes at each parser of what comes from outside; ten minutes each by `./justw fuzz`."""

import pytest

from tests.security.fuzzing import TARGETS, fuzz

SECONDS = 10


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_understood_or_refused(name: str) -> None:
    assert fuzz(name, SECONDS) > 0
