"""Files that come and go over HTTP: streamed through a nameless file of ours, kept by digest, never in memory."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse

from services.gateway.access import Gatekeeper
from services.gateway.bodies import ClientGone
from shared.artifacts import Artifacts
from shared.errors import DeadlineExceeded, InvalidInput, TooLarge, Unavailable
from shared.rpc.inference import BatchResult
from shared.rpc.registry import ExportedVersion
from shared.rpc.trainer import TaskFile

FIELD = "body"
TURN_SECONDS = 30.0


class Uploads:
    """Takes in a few files at once, each within a size and a time; what breaks off leaves nothing."""

    def __init__(
        self, artifacts: Artifacts, folder: Path, gatekeeper: Gatekeeper, limit: int, seconds: float, at_once: int
    ) -> None:
        self._artifacts, self._folder, self._gatekeeper = artifacts, folder, gatekeeper
        self._limit, self._seconds = limit, seconds
        self._slots = asyncio.Semaphore(at_once)

    async def keep(self, request: Request) -> str:
        """Keep the body as an artifact and return its digest.

        Raises TooLarge, DeadlineExceeded, Unavailable when enough files are coming in already, and QuotaUsedUp where
        the project keeps as much as it may.
        """
        self._gatekeeper.check_room(request.state.principal.project)
        self._check(_announced(request))
        if self._slots.locked():
            raise Unavailable("other files are coming in now; try again", retry_after=5)
        async with self._slots:
            digest, size = await self._keep(request)
        if not size:
            raise InvalidInput("the body is empty: send the file as it is (curl --data-binary @FILE)", field=FIELD)
        return digest

    async def keep_any(self, request: Request) -> tuple[str, int]:
        """Keep the body, be it empty, as an artifact; its digest and its size. One of many, it waits for its turn.

        Raises TooLarge, DeadlineExceeded, Unavailable when its turn does not come, and QuotaUsedUp.
        """
        self._gatekeeper.check_room(request.state.principal.project)
        self._check(_announced(request))
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise Unavailable("other files are coming in now; try again", retry_after=5) from None
        try:
            return await self._keep(request)
        finally:
            self._slots.release()

    async def _keep(self, request: Request) -> tuple[str, int]:
        with tempfile.TemporaryFile(dir=self._folder) as file:
            size = await self._receive(request, file)
            return await self._artifacts.put_open(file), size

    async def _receive(self, request: Request, file: IO[bytes]) -> int:
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    self._check(size)
                    await asyncio.to_thread(file.write, chunk)
        except TimeoutError:
            raise DeadlineExceeded(f"the file did not arrive within {self._seconds:g} s") from None
        except ClientDisconnect:
            raise ClientGone() from None
        return size

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise TooLarge(f"the file is larger than {self._limit} bytes, the most that one may have", field=FIELD)

    def response(self, file: ExportedVersion | BatchResult | TaskFile, media_type: str) -> StreamingResponse:
        """The file itself."""
        headers = {
            "Content-Length": str(file.size),
            "Content-Disposition": f'attachment; filename="{file.file_name}"',
            "ETag": f'"{file.digest}"',
        }
        return StreamingResponse(self._chunks(file.digest), headers=headers, media_type=media_type)

    def stream(self, digest: str, size: int, media_type: str, name: str = "") -> StreamingResponse:
        """What is kept by this digest, to be shown, or saved under a name."""
        headers = {"Content-Length": str(size), "ETag": f'"{digest}"'}
        if name:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return StreamingResponse(self._chunks(digest), headers=headers, media_type=media_type)

    async def _chunks(self, digest: str) -> AsyncIterator[bytes]:
        async for chunk in self._artifacts.chunks(digest):
            yield chunk


def _announced(request: Request) -> int:
    return int(request.headers.get("content-length", "0"))
