"""Files that people bring and take: checked in a process of their own, packed and unpacked beside the artifacts."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from services.registry import archive
from services.registry.settings import Settings
from shared import observe
from shared.artifacts import Artifacts
from shared.errors import InvalidInput, Unavailable
from shared.events.common import Signature
from shared.tasks.process import TaskProcess, task_process
from shared.tasks.scratch import scratch
from shared.worker import Failure, Result

ENGINE = "services.registry.engine"
FIELD = "file"
BROUGHT, PACKED = "brought", "packed"
SAID_BY_US = ("Refused", "Malformed")


@dataclass(frozen=True)
class Checked:
    """A model that can be served; the manifest is that of the archive it came in."""

    digest: str
    signature: Signature
    producer: str
    manifest: dict[str, Any] | None


class Files:
    """Checks a few files at once and refuses more: each check costs memory and a database connection."""

    def __init__(self, artifacts: Artifacts, settings: Settings) -> None:
        self._artifacts, self._settings = artifacts, settings
        self._slots = asyncio.Semaphore(settings.max_checks)
        self._root = settings.home_dir / "files"

    async def check(self, digest: str, kind: Literal["onnx", "archive"]) -> Checked:
        """Look into an artifact; raises InvalidInput naming what cannot be served."""
        if self._slots.locked():
            raise Unavailable("other files are being checked now; try again", retry_after=3)
        async with self._slots:
            with scratch(self._root) as folder:
                await self._artifacts.get_file(digest, folder / BROUGHT)
                result = await self._look_into(folder, kind)
                return await self._checked(digest, folder, result)

    async def _checked(self, digest: str, folder: Path, result: Result) -> Checked:
        facts = result.data
        if facts["manifest"] is not None:
            digest = await self._artifacts.put_file(folder / result.files["model"])
        return Checked(digest, Signature.model_validate(facts["signature"]), facts["producer"], facts["manifest"])

    async def _look_into(self, folder: Path, kind: str) -> Result:
        seconds = self._settings.check_seconds
        spec = {
            "file": BROUGHT,
            "kind": kind,
            "memory": self._settings.check_memory,
            "cpu_seconds": int(seconds) + 1,
            "file_bytes": self._settings.file_bytes,
        }
        try:
            async with asyncio.timeout(seconds), task_process(ENGINE, spec, folder, _log) as process:
                return await _result(process)
        except TimeoutError:
            raise InvalidInput(f"the file could not be checked within {seconds:g} s", field=FIELD) from None

    async def pack(self, digest: str, facts: dict[str, Any]) -> tuple[str, int]:
        """Keep one file of a version's model and what is known of it; its digest and size."""
        with scratch(self._root) as folder:
            model, target = folder / archive.MODEL, folder / PACKED
            await self._artifacts.get_file(digest, model)
            await asyncio.to_thread(archive.pack, model, facts, digest, target)
            return await self._artifacts.put_file(target), target.stat().st_size


async def _result(process: TaskProcess) -> Result:
    """What the process found; however it ends otherwise, the file is refused."""
    while (report := await process.next_report()) is not None:
        if isinstance(report, Result):
            return report
        if isinstance(report, Failure):
            raise InvalidInput(_words(report), field=FIELD)
    how = await process.ended()
    raise InvalidInput(f"the file cannot be checked within the limits: the process {how}", field=FIELD)


def _words(failure: Failure) -> str:
    if failure.error in SAID_BY_US:
        return f"the file is refused: {failure.message}"
    if failure.error == "MemoryError":
        return "the file is refused: it takes more memory than a check may have"
    return f"the file is refused: it cannot be read ({failure.error}: {failure.message[:200]})"


async def _log(stream: str, line: str) -> None:
    observe.log().debug("file check", stream=stream, line=line)
