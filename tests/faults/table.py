"""The fault table: each fault, in how many main jobs, and how often the outcome was the undisturbed one."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

TRIED: Counter[str] = Counter()
EQUAL: Counter[str] = Counter()


@contextmanager
def trial(*faults: str) -> Iterator[None]:
    """One main job under these faults, for the table: equal when nothing is raised."""
    TRIED.update(faults)
    yield
    EQUAL.update(faults)


def counts() -> tuple[dict[str, int], dict[str, int]]:
    """What was tried here, and what was equal."""
    return dict(TRIED), dict(EQUAL)


def add(tried: dict[str, int], equal: dict[str, int]) -> None:
    """Count what another process tried."""
    TRIED.update(tried)
    EQUAL.update(equal)


def lines() -> Iterator[str]:
    width = max(map(len, TRIED), default=0)
    yield f"{'fault':<{width}}  runs  equal"
    for fault, runs in sorted(TRIED.items()):
        yield f"{fault:<{width}}  {runs:>4}  {EQUAL[fault]:>5}"
    yield f"{'in all':<{width}}  {TRIED.total():>4}  {EQUAL.total():>5}"
