"""Batches: each item is done once and learns of its own failure alone, whatever came together."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from shared.batching import Batches

MOST = 4


class Ledger:
    """Work that commits all of a batch or nothing, and fails where a bad number is among it."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.committed: list[int] = []
        self.sizes: list[int] = []

    async def work(self, batch: list[int]) -> None:
        self.sizes.append(len(batch))
        await asyncio.sleep(0)
        if found := self.bad.intersection(batch):
            raise ValueError(sorted(found))
        self.committed += batch


async def outcomes(ledger: Ledger, numbers: list[int], pauses: list[bool]) -> list[object]:
    batches = Batches(ledger.work, MOST)
    asked = []
    for number, pause in zip(numbers, pauses, strict=True):
        asked.append(asyncio.create_task(batches.add(number)))
        if pause:
            await asyncio.sleep(0)
    return await asyncio.gather(*asked, return_exceptions=True)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20))
def test_each_is_done_once_or_fails_alone(drawn: list[tuple[bool, bool]]) -> None:
    numbers = list(range(len(drawn)))
    ledger = Ledger({number for number, (bad, _) in enumerate(drawn) if bad})
    found = asyncio.run(outcomes(ledger, numbers, [pause for _, pause in drawn]))
    assert ledger.committed == [number for number in numbers if number not in ledger.bad]
    assert [isinstance(one, ValueError) for one in found] == [bad for bad, _ in drawn]
    assert [one.args[0] for one in found if isinstance(one, ValueError)] == [[number] for number in sorted(ledger.bad)]
    assert max(ledger.sizes, default=0) <= MOST


def test_what_waits_goes_together() -> None:
    ledger = Ledger(set())
    asyncio.run(outcomes(ledger, list(range(9)), [False] * 9))
    assert ledger.sizes == [4, 4, 1]


async def test_who_stops_waiting_changes_nothing_for_the_others() -> None:
    ledger = Ledger(set())
    batches = Batches(ledger.work, MOST)
    first, second = (asyncio.create_task(batches.add(number)) for number in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert ledger.committed == [1, 2]
