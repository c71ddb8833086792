"""The process of a task: clean environment, spec on standard input, reports on a pipe, output into the task's log."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.worker import REPORT_FD, REPORTS, Report

ROOT = Path(__file__).resolve().parents[2]
KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "OPENBLAS_CORETYPE",
    "CUDA_VISIBLE_DEVICES",
)
TERMINATE_SECONDS = 2.0
LINE_LIMIT = 16 * 1024 * 1024
LogLine = Callable[[str, str], Awaitable[None]]


@dataclass
class TaskProcess:
    """A running process; iterate `reports` to its end, then read `exit_code`."""

    process: asyncio.subprocess.Process
    pipe: asyncio.StreamReader

    @property
    def pid(self) -> int:
        return self.process.pid

    async def reports(self) -> AsyncIterator[Report]:
        """The reports of the process, until it closes its pipe."""
        while line := await self.pipe.readline():
            yield _read_report(line)

    async def exit_code(self) -> int:
        """The exit code; negative for the signal that ended the process."""
        return await self.process.wait()


def _read_report(line: bytes) -> Report:
    try:
        return REPORTS.validate_json(line)
    except ValidationError as error:
        raise ValueError(f"the task's process sent an unreadable report: {error}") from error


def _environment(descriptor: int, threads: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
        REPORT_FD: str(descriptor),
    }


async def _open_pipe(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb"))
    return reader, transport


async def _copy_output(stream: asyncio.StreamReader, log: LogLine) -> None:
    while line := await stream.readline():
        await log("output", line.decode(errors="replace").rstrip("\n"))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the process to end, and end it after TERMINATE_SECONDS."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), TERMINATE_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _start(module: str, folder: Path, descriptor: int, threads: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        cwd=folder,
        env=_environment(descriptor, threads),
        pass_fds=(descriptor,),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=LINE_LIMIT,
    )


@asynccontextmanager
async def task_process(
    module: str, spec: BaseModel | dict[str, Any], folder: Path, log: LogLine, threads: int = 1
) -> AsyncIterator[TaskProcess]:
    """Run a module as the process of a task; it does not outlive the block."""
    ours, theirs = os.pipe()
    try:
        process = await _start(module, folder, theirs, threads)
    finally:
        os.close(theirs)
    pipe, transport = await _open_pipe(ours)
    assert process.stdin and process.stdout
    copying = asyncio.create_task(_copy_output(process.stdout, log))
    try:
        process.stdin.write(
            spec.model_dump_json().encode() if isinstance(spec, BaseModel) else json.dumps(spec).encode()
        )
        process.stdin.close()
        yield TaskProcess(process, pipe)
    finally:
        await _end(process)
        with suppress(TimeoutError):
            await asyncio.wait_for(copying, 1)
        transport.close()
