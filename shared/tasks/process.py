"""The process of a task: clean environment, spec on standard input, reports on a pipe, output into the task's log."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.errors import AimassError
from shared.worker import REPORT_FD, REPORTS, Report

ROOT = Path(__file__).resolve().parents[2]
FETCHING = ("AIMASS_DATA_HOME", "PIP_INDEX_URL", "NPM_CONFIG_REGISTRY", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
KEPT_VARIABLES = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "CUDA_VISIBLE_DEVICES"),
    *FETCHING,
)
# Memory of 32 MiB, the most that glibc allows, and less comes from the heap, which keeps 256 MiB of what is free: a
# small network's steps take megabytes again and again, and the kernel would clear each page anew.
KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
TERMINATE_SECONDS = 1.0
EXIT_SECONDS = 30.0
OUTPUT_SECONDS = 3.0
MEMORY_SECONDS = 0.1
EXIT_POLL_SECONDS = 0.02
NICENESS = "AIMASS_TASK_NICENESS"
GIVE_WAY_SECONDS = 0.11
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
MIB = 1024 * 1024
OUT_OF_MEMORY = "OutOfMemory"
LINE_BYTES = 64 * 1024
HELD_BYTES = 4 * LINE_BYTES  # one pipe, and what a reader takes from it ahead of its lines
REPORT_BYTES = 16 * 1024 * 1024
LogLine = Callable[[str, str], Awaitable[None]]


class Unreadable(AimassError):
    """The task's process sent a report that cannot be read."""

    code = "unreadable_report"


class ProcessLost(AimassError):
    """The task's process ended without a result; the task goes on from its last checkpoint.

    It is hearsay where the process could say so itself, of others.
    """

    code = "process_lost"
    transient = True
    is_hearsay = False


@dataclass
class Limit:
    """How much memory the process may have, and whether it was ended because it had more."""

    memory: int
    exceeded: int = 0

    def __str__(self) -> str:
        had, may = self.exceeded / MIB, self.memory / MIB
        return f"the task's process had {had:.0f} MiB of memory, of which it may have {may:.0f}: more by limits.memory"


@dataclass
class TaskProcess:
    """A running process: read its reports to their end, then how it ended."""

    process: asyncio.subprocess.Process
    pipe: asyncio.StreamReader
    limit: Limit
    peak_memory: int | None = None
    exit_code: int | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    async def next_report(self) -> Report | None:
        """The next report; None once the process has closed its pipe, be it in the middle of a report."""
        try:
            line = await self.pipe.readline()
        except ValueError as error:
            raise Unreadable(f"the task's process sent a report of more than {REPORT_BYTES} bytes") from error
        self.note_memory()
        return _read_report(line) if line.endswith(b"\n") else None

    async def ended(self) -> str:
        """How the process ended, in words."""
        try:
            code = await _exit_code(self.process, EXIT_SECONDS)
        except TimeoutError:
            return "closed its pipe without a result"
        self.exit_code = code
        return f"was ended by {self.exit_signal}" if code < 0 else f"ended with exit code {code}"

    @property
    def exit_signal(self) -> str:
        """The signal by which the process ended before we ended it."""
        code = self.exit_code or 0
        return signal.Signals(-code).name if code < 0 else ""

    def note_memory(self) -> None:
        """The most memory that the process had so far; the kernel forgets it when the process ends."""
        with suppress(OSError):
            found = PEAK.search(Path(f"/proc/{self.pid}/status").read_text())
            self.peak_memory = int(found[1]) * 1024 if found else self.peak_memory

    async def watch_memory(self) -> None:
        while True:
            self.note_memory()
            if self.peak_memory and self.peak_memory > self.limit.memory and not self.limit.exceeded:
                self.limit.exceeded = self.peak_memory
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            await asyncio.sleep(MEMORY_SECONDS)


def _read_report(line: bytes) -> Report:
    try:
        return REPORTS.validate_json(line)
    except ValidationError as error:
        raise Unreadable(f"the task's process sent an unreadable report: {error.errors()[0]['msg']}") from error


def _import_path() -> str:
    """This checkout, then what this process was told: wheels may lie in folders of their own."""
    told = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([str(ROOT), *(folder for folder in told if Path(folder).is_absolute())])


def _environment(descriptor: int, folder: Path, threads: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    own = {
        "PYTHONPATH": _import_path(),
        "PYTHONUNBUFFERED": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": str(threads),
        "TMPDIR": str(folder),
        REPORT_FD: str(descriptor),
    }
    return kept | KEEPS_MEMORY | own


class OutputCopy:
    """What the process prints, on its way to the log."""

    def __init__(self, stream: asyncio.StreamReader, log: LogLine) -> None:
        self._stream, self._log = stream, log
        self._read = 0
        self._logging = False
        self._copying = asyncio.create_task(self._copy())

    async def _copy(self) -> None:
        """Log every line; of one that is too long, only that it was left out."""
        left_out = False
        while True:
            try:
                line = await self._stream.readline()
            except ValueError:
                self._read += LINE_BYTES
                if not left_out:
                    await self._write(f"(a line of more than {LINE_BYTES} bytes was left out)")
                left_out = True
                continue
            if not line:
                return
            left_out = False
            self._read += len(line)
            await self._write(line.decode(errors="replace").rstrip("\n"))

    async def _write(self, line: str) -> None:
        self._logging = True
        await self._log("output", line)
        self._logging = False

    async def finish(self) -> None:
        """Copy all that an ended process can have left, however slowly, until nothing comes for OUTPUT_SECONDS."""
        most, read = self._read + HELD_BYTES, -1
        while self._read < most and (self._logging or read != self._read):
            read = self._read
            done, _ = await asyncio.wait({self._copying}, timeout=OUTPUT_SECONDS)
            if done:
                return
        await self._log("output", "(the output is still open; what comes after this is left out)")

    def stop(self) -> None:
        self._copying.cancel()


async def _start(module: str, folder: Path, descriptor: int, threads: int, python: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        module,
        cwd=folder,
        env=_environment(descriptor, folder, threads),
        pass_fds=(descriptor,),
        start_new_session=True,  # a group of its own; uvloop knows no process_group
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=LINE_BYTES,
    )
    os.setpriority(os.PRIO_PGRP, process.pid, _niceness())
    return process


def _niceness() -> int:
    """Who asks and waits goes first; a task takes what is left."""
    return int(os.environ.get(NICENESS, "10"))


async def _give_way(pid: int) -> None:
    """Where Linux shares out by sessions, what is nice counts only within its own: the session gives way, too."""
    niceness = _niceness()
    while niceness and not _has_given_way(pid, niceness):
        await asyncio.sleep(GIVE_WAY_SECONDS)


def _has_given_way(pid: int, niceness: int) -> bool:
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
    except BlockingIOError:  # all but root together may say so ten times a second
        return False
    except OSError:  # there are no such groups here, or the process is gone
        return True
    return True


async def _start_with_pipe(
    module: str, folder: Path, threads: int, limit: Limit, python: str
) -> tuple[TaskProcess, asyncio.StreamWriter]:
    """The pipe is a pair of sockets: of a real one uvloop closes its end twice, and then also a file of some thread."""
    ours, theirs = socket.socketpair()
    with theirs:
        pipe, writer = await asyncio.open_connection(sock=ours, limit=REPORT_BYTES)
        try:
            return TaskProcess(await _start(module, folder, theirs.fileno(), threads, python), pipe, limit), writer
        except OSError as error:
            writer.close()
            raise ProcessLost(f"the task's process could not be started: {error}") from error
        except BaseException:
            writer.close()
            raise


async def _exit_code(process: asyncio.subprocess.Process, seconds: float) -> int:
    """The process's own end; its `wait` would go on until every descendant has closed the standard output, too."""
    async with asyncio.timeout(seconds):
        while process.returncode is None:
            await asyncio.sleep(EXIT_POLL_SECONDS)
    return process.returncode


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the process to end; after TERMINATE_SECONDS end it and all that it has started."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await _exit_code(process, TERMINATE_SECONDS)
    except TimeoutError:
        process.kill()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await _exit_code(process, EXIT_SECONDS)


@asynccontextmanager
async def task_process(
    module: str,
    spec: BaseModel | dict[str, Any],
    folder: Path,
    log: LogLine,
    threads: int = 1,
    limit: Limit | None = None,
    python: str = sys.executable,
) -> AsyncIterator[TaskProcess]:
    """Run a module as the process of a task; it does not outlive the block."""
    started, writer = await _start_with_pipe(module, folder, threads, limit or Limit(sys.maxsize), python)
    process = started.process
    assert process.stdin and process.stdout
    output = OutputCopy(process.stdout, log)
    beside = [asyncio.create_task(each) for each in (started.watch_memory(), _give_way(process.pid))]
    try:
        given = spec.model_dump_json() if isinstance(spec, BaseModel) else json.dumps(spec)
        if not process.stdin.is_closing():  # else it has died already, and its end will tell
            process.stdin.write(given.encode())
            process.stdin.close()
        yield started
    finally:
        for each in beside:
            each.cancel()
        try:
            await _end(process)
            await output.finish()
        finally:
            output.stop()
            writer.close()  # held until here: a writer that nobody holds closes by itself
