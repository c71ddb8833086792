"""Batches: each item is done once and learns of its own failure alone, whatever came together."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from shared.batching import handle_all

GOOD, BAD, LATER = "good", "bad", "later"
Item = tuple[int, str]


class Passing(Exception):
    """Will be over by itself."""


class Ledger:
    """Work that commits all of a batch or nothing, and fails where a bad item is among it."""

    def __init__(self) -> None:
        self.committed: list[Item] = []
        self.settled: dict[Item, Exception | None] = {}
        self.sizes: list[int] = []

    async def handle(self, batch: list[Item]) -> None:
        self.sizes.append(len(batch))
        for kind, error in ((LATER, Passing()), (BAD, ValueError())):
            if any(item[1] == kind for item in batch):
                raise error
        self.committed += batch

    async def settle(self, batch: list[Item], error: Exception | None) -> None:
        assert not self.settled.keys() & set(batch)
        self.settled |= dict.fromkeys(batch, error)


def handled(kinds: list[str]) -> tuple[Ledger, list[Item]]:
    ledger, batch = Ledger(), list(enumerate(kinds))
    asyncio.run(handle_all(batch, ledger.handle, ledger.settle, lambda error: isinstance(error, Passing)))
    return ledger, batch


@given(st.lists(st.sampled_from([GOOD, BAD, LATER]), max_size=20))
def test_each_is_settled_once_and_only_what_was_committed_as_done(kinds: list[str]) -> None:
    ledger, batch = handled(kinds)
    assert ledger.settled.keys() == set(batch)
    assert [item for item in batch if ledger.settled[item] is None] == ledger.committed


@given(st.lists(st.sampled_from([GOOD, BAD]), max_size=20))
def test_the_bad_fail_alone(kinds: list[str]) -> None:
    ledger, batch = handled(kinds)
    assert ledger.committed == [item for item in batch if item[1] == GOOD]
    assert all(isinstance(ledger.settled[item], ValueError) for item in batch if item[1] == BAD)


def test_what_waits_goes_together() -> None:
    assert handled([GOOD] * 9)[0].sizes == [9]


def test_one_that_has_to_wait_holds_nobody_up() -> None:
    ledger, batch = handled([LATER, GOOD, LATER, GOOD])
    assert ledger.committed == [batch[1], batch[3]]


def test_when_nothing_goes_the_rest_need_not_try() -> None:
    ledger, batch = handled([LATER] * 9)
    assert ledger.sizes == [9, 1, 1]
    assert all(isinstance(ledger.settled[item], Passing) for item in batch)
