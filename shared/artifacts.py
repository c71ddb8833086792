"""Artifacts: immutable files named by their sha256, on a local folder or an object store (obstore)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from shared import observe
from shared.errors import DigestMismatch, NotFound, Unavailable

GET_SECONDS = 60.0
FILE_SECONDS = 300.0
CHUNK_BYTES = 1024 * 1024
HOLD = "holds/backup"
HOLD_SECONDS = 600.0


@dataclass(frozen=True)
class Kept:
    """An artifact as the store lists it."""

    digest: str
    size: int
    stored_at: datetime


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _open(url: str) -> ObjectStore:
    if url.startswith("file://"):
        Path(url.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
    return from_url(url)


@contextmanager
def _refusals() -> Iterator[None]:
    """Raises Unavailable where the store does not take what it is given, as one without space left."""
    try:
        yield
    except TimeoutError:
        raise Unavailable("the artifact store did not answer in time") from None
    except BaseError as error:
        observe.log().error("artifact not kept", error=str(error))
        raise Unavailable("the artifact store refused to keep it: it may be full; try again") from error


class Artifacts:
    """Put and get by digest; what is read is checked against its name."""

    def __init__(self, url: str) -> None:
        self._store = _open(url)

    async def put(self, content: bytes) -> str:
        """Keep the content and return its digest; the same content twice is kept once."""
        digest = digest_of(content)
        with _refusals():
            async with asyncio.timeout(GET_SECONDS):
                await obstore.put_async(self._store, digest, content)
        return digest

    async def put_file(self, path: Path) -> str:
        with path.open("rb") as file:
            return await self.put_open(file)

    async def put_open(self, file: IO[bytes]) -> str:
        """Keep what an open file holds, of any size, without having it in memory."""
        with _refusals():
            async with asyncio.timeout(FILE_SECONDS):
                digest = await asyncio.to_thread(_digest_of_file, file)
                await obstore.put_async(self._store, digest, file)
        return digest

    async def get(self, digest: str) -> bytes:
        """The content of this digest.

        Raises NotFound when it is not kept, DigestMismatch when it was altered.
        """
        try:
            async with asyncio.timeout(GET_SECONDS):
                answer = await obstore.get_async(self._store, digest)
                content = bytes(await answer.bytes_async())
        except FileNotFoundError:
            raise NotFound(f"artifact {digest} is not kept") from None
        except TimeoutError:
            raise Unavailable("the artifact store did not answer in time") from None
        if digest_of(content) != digest:
            raise DigestMismatch(f"artifact {digest} was altered: its content does not match its name")
        return content

    async def get_file(self, digest: str, path: Path) -> Path:
        """Write the content to a file; raises as `get` does, and then leaves no file."""
        with _written(path) as file:
            async for chunk in self.chunks(digest):
                await asyncio.to_thread(file.write, chunk)
        return path

    async def chunks(self, digest: str) -> AsyncIterator[bytes]:
        """The content in pieces; an altered one raises DigestMismatch at its end."""
        found = hashlib.sha256()
        try:
            async with asyncio.timeout(FILE_SECONDS):
                answer = await obstore.get_async(self._store, digest)
                async for chunk in answer.stream(min_chunk_size=CHUNK_BYTES):
                    found.update(chunk)
                    yield bytes(chunk)
        except FileNotFoundError:
            raise NotFound(f"artifact {digest} is not kept") from None
        except TimeoutError:
            raise Unavailable("the artifact store did not answer in time") from None
        if found.hexdigest() != digest:
            raise DigestMismatch(f"artifact {digest} was altered: its content does not match its name")

    async def kept(self) -> AsyncIterator[Kept]:
        """All that is kept."""
        async for page in obstore.list(self._store, chunk_size=1000):
            for item in page:
                if "/" not in item["path"]:
                    yield Kept(item["path"], item["size"], item["last_modified"])

    async def find(self, digest: str) -> Kept | None:
        try:
            item = await obstore.head_async(self._store, digest)
        except FileNotFoundError:
            return None
        return Kept(item["path"], item["size"], item["last_modified"])

    async def delete(self, digest: str) -> None:
        """Forget an artifact, for the one who alone named it; one that is gone already is no error.

        While a backup holds the store, it stays, and is garbage that is collected later.
        """
        if await self._is_held():
            return
        with suppress(FileNotFoundError):
            await obstore.delete_async(self._store, digest)

    async def _is_held(self) -> bool:
        """A hold that nobody renews ends by itself."""
        hold = await self.find(HOLD)
        return hold is not None and hold.stored_at > datetime.now(UTC) - timedelta(seconds=HOLD_SECONDS)


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A new file that is gone again if the block fails."""
    try:
        with path.open("wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _digest_of_file(file: IO[bytes]) -> str:
    """The digest of the whole file, which is read again from its beginning afterwards."""
    file.seek(0)
    digest = hashlib.sha256()
    for chunk in iter(partial(file.read, CHUNK_BYTES), b""):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()
