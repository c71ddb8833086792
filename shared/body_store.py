"""Bodies in the object store: too large for a message of the bus, or of requests that are answered later."""

import asyncio
import mmap
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from shared.errors import NotFound, Unavailable
from shared.frames import MAX_FRAME_BYTES, MAX_RECORD_BYTES

FOLDER: Final = "claims"
DEFERRED: Final = "deferred"
LOCAL_BYTES: Final = 128 * 1024
BUS_BYTES: Final = MAX_FRAME_BYTES - MAX_RECORD_BYTES
STORE_SECONDS: Final = 120.0
CHUNK_BYTES: Final = 4 * 1024 * 1024


class BodyStore:
    """Keeps bodies by name. `threshold` is the size in bytes from which that pays: on a local disk long before the
    bus takes no more. What is read is mapped, so that it takes no memory of its own.
    """

    def __init__(self, artifacts_url: str, scratch: Path, folder: str = FOLDER) -> None:
        url = f"{artifacts_url.rstrip('/')}/{folder}"
        self._local = Path(url.removeprefix("file://")) if url.startswith("file://") else None
        if self._local:
            self._local.mkdir(parents=True, exist_ok=True)
        self._store = from_url(url)
        self._scratch = scratch
        self.threshold = LOCAL_BYTES if self._local else BUS_BYTES

    async def keep(self, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        """Keep a body; what the iterator raises passes through, and nothing is kept then.

        One in memory goes straight onto a local disk: handing it to a thread costs more than the write.
        """
        with _errors(name):
            if self._local and isinstance(content, bytes):
                (self._local / name).write_bytes(content)
                return
            async with asyncio.timeout(STORE_SECONDS):
                await obstore.put_async(self._store, name, content, use_multipart=not isinstance(content, bytes))

    async def fetch(self, name: str) -> memoryview:
        """The body of this name, which may be dropped afterwards; raises NotFound."""
        with _errors(name):
            if self._local:
                with (self._local / name).open("rb") as file:  # noqa: ASYNC230 (opening a file of a local disk)
                    return _mapped(file)
            with tempfile.TemporaryFile(dir=self._scratch) as file:
                await self._download(name, file)
                return _mapped(file)

    async def _download(self, name: str, file: IO[bytes]) -> None:
        async with asyncio.timeout(STORE_SECONDS):
            answer = await obstore.get_async(self._store, name)
            async for chunk in answer.stream(min_chunk_size=CHUNK_BYTES):
                await asyncio.to_thread(file.write, chunk)
        file.flush()

    async def drop(self, name: str) -> None:
        with suppress(NotFound), _errors(name):
            if self._local:
                (self._local / name).unlink()
                return
            await obstore.delete_async(self._store, name)

    async def sweep(self, seconds: float) -> int:
        """Drop what has lain longer than any request waits; returns how many that were."""
        found = 0
        async for names in self.older(seconds):
            for name in names:
                await self.drop(name)
            found += len(names)
        return found

    async def older(self, seconds: float) -> AsyncIterator[list[str]]:
        """The names of what has lain for longer than this, in pages."""
        oldest = datetime.now(UTC) - timedelta(seconds=seconds)
        async for page in obstore.list(self._store, chunk_size=1000):
            if names := [item["path"] for item in page if item["last_modified"] < oldest]:
                yield names


def _mapped(file: IO[bytes]) -> memoryview:
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"body {name} is not kept any more") from None
    except TimeoutError:
        raise Unavailable("the object store did not answer in time") from None
    except (BaseError, OSError) as error:
        raise Unavailable("the object store is not reachable now") from error
