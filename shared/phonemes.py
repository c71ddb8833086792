"""How words sound, asked of a process of its own: `shared/phonemes_child.py` says why."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from shared import observe
from shared.errors import Unavailable

MODULE: Final = "shared.phonemes_child"
ROOT: Final = Path(__file__).resolve().parents[1]
LINE_BYTES: Final = 1024 * 1024
BATCH_SECONDS: Final = 120.0


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", MODULE, *arguments]


def _environment() -> dict[str, str]:
    """No secret of ours, but where the same packages lie."""
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]), "PYTHONUTF8": "1"}


def all_at_once(texts: Sequence[str], *arguments: str) -> list[Any]:
    """What the process says to each text, where nothing else waits; raises Unavailable where it fails."""
    asked = "".join(f"{json.dumps(text)}\n" for text in texts)
    try:
        done = subprocess.run(
            _command(*arguments),
            input=asked,
            env=_environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=BATCH_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        raise Unavailable(f"the process that knows how words sound failed: {str(said).strip()[-200:]}") from error
    return [json.loads(line) for line in done.stdout.splitlines()]


class Phonemes:
    """One process, started when it is first asked, anew where it failed or took too long; asked one after another."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def sentences(self, text: str) -> list[str]:
        """The sentences of a text in letters of sound; raises Unavailable where the process gives no answer in time."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._seconds):
                    answer: list[str] = json.loads(await self._ask(text))
                    return answer
            except (TimeoutError, OSError, ValueError) as error:
                observe.log().error("the process that knows how words sound gave no answer", exc_info=error)
                await self._end()
                raise Unavailable("how the words sound cannot be told now; try again") from error
            except asyncio.CancelledError:
                await self._end()
                raise

    async def _ask(self, text: str) -> bytes:
        process = self._process or await self._start()
        assert process.stdin and process.stdout
        process.stdin.write(f"{json.dumps(text)}\n".encode())
        await process.stdin.drain()
        return await process.stdout.readline()

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *_command(), stdin=pipe, stdout=pipe, env=_environment(), limit=LINE_BYTES
        )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()
