"""Artifacts: immutable files named by their sha256, on a local folder or an object store (obstore)."""

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path

import obstore
from obstore.store import ObjectStore, from_url

from shared.errors import DigestMismatch, NotFound, Unavailable

GET_SECONDS = 60.0


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _open(url: str) -> ObjectStore:
    if url.startswith("file://"):
        Path(url.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
    return from_url(url)


class Artifacts:
    """Put and get by digest; what is read is checked against its name."""

    def __init__(self, url: str) -> None:
        self._store = _open(url)

    async def put(self, content: bytes) -> str:
        """Keep the content and return its digest; the same content twice is kept once."""
        digest = digest_of(content)
        try:
            await asyncio.wait_for(obstore.put_async(self._store, digest, content), GET_SECONDS)
        except TimeoutError:
            raise Unavailable("the artifact store did not answer in time") from None
        return digest

    async def put_file(self, path: Path) -> str:
        return await self.put(await asyncio.to_thread(path.read_bytes))

    async def get(self, digest: str) -> bytes:
        """The content of this digest.

        Raises NotFound when it is not kept, DigestMismatch when it was altered.
        """
        try:
            answer = await asyncio.wait_for(obstore.get_async(self._store, digest), GET_SECONDS)
            content = bytes(await answer.bytes_async())
        except FileNotFoundError:
            raise NotFound(f"artifact {digest} is not kept") from None
        except TimeoutError:
            raise Unavailable("the artifact store did not answer in time") from None
        if digest_of(content) != digest:
            raise DigestMismatch(f"artifact {digest} was altered: its content does not match its name")
        return content

    async def get_file(self, digest: str, path: Path) -> Path:
        await asyncio.to_thread(path.write_bytes, await self.get(digest))
        return path

    async def delete(self, digest: str) -> None:
        """Forget an artifact, for the one who alone named it; one that is gone already is no error."""
        with suppress(FileNotFoundError):
            await obstore.delete_async(self._store, digest)
