"""A task is ended also where what it waits in loses a cancellation."""

import asyncio
from contextlib import suppress

import pytest

from shared.ending import end


@pytest.mark.parametrize("lost", [0, 1, 3])
async def test_it_is_cancelled_until_it_has_ended(lost: int) -> None:
    async def work() -> None:
        for _ in range(lost):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(work()) for _ in range(2)]
    await asyncio.sleep(0)
    await end(tasks, again=0.01)
    assert all(task.cancelled() for task in tasks)


async def test_one_that_has_ended_or_fails_meanwhile_is_no_trouble() -> None:
    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError

    ended = asyncio.create_task(asyncio.sleep(0))
    await ended
    failing = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await end([ended, failing])
    with pytest.raises(ValueError):
        await failing
