"""Tasks give way to who asks and waits, also where Linux shares out processor time by sessions."""

import asyncio
import sys
from pathlib import Path

import pytest

from shared.tasks import process

pytestmark = pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="no groups by session here")


async def test_a_tasks_session_is_as_nice_as_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(process.NICENESS, "7")
    sleeping = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    async with asyncio.timeout(60):
        await process._give_way(sleeping.pid)
    assert Path(f"/proc/{sleeping.pid}/autogroup").read_text().split()[-1] == "7"
    sleeping.kill()
    await sleeping.wait()


async def test_a_process_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(process.NICENESS, "7")
    await process._give_way(2**22 + 1)


async def test_in_tests_tasks_take_their_share() -> None:
    """Else they wait for all other tests, and those that wait for them fail by chance."""
    assert process._niceness() == 0
