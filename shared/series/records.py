"""Histograms, texts, tables and images of tasks, bounded in number and size: small ones as rows, others by digest."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import to_json

from shared.artifacts import Artifacts
from shared.db import Connection
from shared.errors import InvalidInput, NotFound
from shared.rpc.curves import RecordContent, RecordLine
from shared.worker import Record

RECORDS_MOST = 1000
BODY_BYTES = 32 * 1024
FILE_BYTES = 16 * 1024**2
JSON = "application/json"
IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}

# How many records a task has beside one.
COUNT = "SELECT count(*) FROM task_records WHERE task_id = $1 AND (name, step) <> ($2, $3)"
# Keep a record; one that is said again replaces the one before.
SAVE = """
INSERT INTO task_records (task_id, name, step, kind, fence, body, digest, media, size)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (task_id, name, step) DO UPDATE SET kind = excluded.kind, fence = excluded.fence, body = excluded.body,
    digest = excluded.digest, media = excluded.media, size = excluded.size, at = now()
"""
# What records a task has.
LIST = """
SELECT name, step, kind, size, at FROM task_records
WHERE task_id = $1 AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR kind = $3) ORDER BY name, step
"""
# One record, the last of its name where no step is named.
FIND = """
SELECT name, step, kind, size, at, body, digest, media FROM task_records
WHERE task_id = $1 AND name = $2 AND ($3::bigint IS NULL OR step = $3) ORDER BY step DESC LIMIT 1
"""


# The files of records of all projects.
NAMED = """
SELECT DISTINCT digest FROM task_records WHERE digest IS NOT NULL AND digest > $1 ORDER BY digest LIMIT $2
"""


class Kept(NamedTuple):
    """A record as a row holds it: with a small body, or with the digest of a file."""

    record: Record
    body: dict[str, Any] | None
    digest: str | None
    media: str
    size: int


async def kept(record: Record, file: Path | None, artifacts: Artifacts) -> Kept:
    """Put what is no small body into the artifacts; raises InvalidInput for what is too large or no image of ours."""
    if file is not None:
        media, size = await asyncio.to_thread(_checked, record, file)
        return Kept(record, None, await artifacts.put_file(file), media, size)
    body = to_json(record.body, inf_nan_mode="strings")
    if len(body) <= BODY_BYTES:
        return Kept(record, record.body, None, JSON, len(body))
    _check_size(record, len(body))
    return Kept(record, None, await artifacts.put(body), JSON, len(body))


def _checked(record: Record, file: Path) -> tuple[str, int]:
    """The media type of a file, of an image by its first bytes so that nothing else is shown as one; and its size."""
    size = file.stat().st_size
    _check_size(record, size)
    if record.kind != "image":
        return JSON, size
    with file.open("rb") as opened:
        beginning = opened.read(16)
    found = next((media for start, media in IMAGES.items() if beginning.startswith(start)), None)
    if found is None:
        raise InvalidInput(f"{record.name}: an image is a PNG or a JPEG", field=record.name)
    return found, size


def _check_size(record: Record, size: int) -> None:
    if size > FILE_BYTES:
        raise InvalidInput(f"{record.name}: a record has at most {FILE_BYTES} bytes, not {size}", field=record.name)


async def save(tx: Connection, task_id: str, fence: int, given: Kept) -> None:
    """Raises InvalidInput for one record too many."""
    record = given.record
    if await tx.fetchval(COUNT, task_id, record.name, record.step) >= RECORDS_MOST:
        raise InvalidInput(f"a task has at most {RECORDS_MOST} records", field=record.name)
    facts = (record.kind, fence, given.body, given.digest, given.media, given.size)
    await tx.execute(SAVE, task_id, record.name, record.step, *facts)


async def listed(tx: Connection, task_id: str, name: str | None, kind: str | None) -> list[RecordLine]:
    return [RecordLine(**dict(row)) for row in await tx.fetch(LIST, task_id, name, kind)]


async def find(tx: Connection, task_id: str, name: str, step: int | None) -> RecordContent:
    """Raises NotFound."""
    row = await tx.fetchrow(FIND, task_id, name, step)
    if row is None:
        raise NotFound(f"task {task_id} has no record {name!r}" + ("" if step is None else f" of step {step}"))
    return RecordContent(**dict(row))


async def named_artifacts(tx: Connection, after: str, limit: int) -> list[str]:
    return [row["digest"] for row in await tx.fetch(NAMED, after, limit)]
