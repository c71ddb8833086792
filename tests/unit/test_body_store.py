"""Bodies on a local folder and on an object store: kept, mapped, dropped, swept."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.body_store import BodyStore
from shared.errors import NotFound

BODY = bytes(range(256)) * 4096


@pytest.fixture(params=["file", "memory"])
def bodies(request: pytest.FixtureRequest, tmp_path: Path) -> BodyStore:
    url = f"file://{tmp_path}/artifacts" if request.param == "file" else "memory:///artifacts"
    return BodyStore(url, tmp_path)


async def pieces() -> AsyncIterator[bytes]:
    for start in range(0, len(BODY), 100_000):
        yield BODY[start : start + 100_000]


async def test_what_is_kept_is_read_even_when_it_was_dropped_meanwhile(bodies: BodyStore) -> None:
    await bodies.keep("whole", BODY)
    await bodies.keep("streamed", pieces())
    found = [await bodies.fetch(name) for name in ("whole", "streamed")]
    for name in ("whole", "streamed", "never there"):
        await bodies.drop(name)
    assert found == [BODY, BODY]
    with pytest.raises(NotFound):
        await bodies.fetch("whole")


async def test_a_body_that_breaks_off_is_not_kept(bodies: BodyStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        async for piece in pieces():
            yield piece
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        await bodies.keep("broken", broken())
    with pytest.raises(NotFound):
        await bodies.fetch("broken")


async def test_only_what_is_old_is_swept(tmp_path: Path) -> None:
    bodies = BodyStore(f"file://{tmp_path}/artifacts", tmp_path)
    for name in ("old", "new"):
        await bodies.keep(name, b"body")
    hours_ago = time.time() - 7200
    os.utime(tmp_path / "artifacts" / "claims" / "old", (hours_ago, hours_ago))
    assert await bodies.sweep(3600) == 1
    with pytest.raises(NotFound):
        await bodies.fetch("old")
    assert await bodies.fetch("new") == b"body"


def test_a_local_disk_pays_sooner_than_a_store_far_away(tmp_path: Path) -> None:
    local, far = BodyStore(f"file://{tmp_path}", tmp_path), BodyStore("memory:///", tmp_path)
    assert local.threshold < far.threshold
