"""A backup of a running stack: streams first, then the database, then artifacts.

In this order the database knows of everything in the streams: what was published after them is still in its outboxes,
what was heard after them in its inboxes, and every artifact that it names was there when the copying of them began.
"""

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from deploy.backup import database, files, streams
from deploy.backup.errors import BackupFailed
from deploy.backup.manifest import PARTIAL, Kept, Manifest, Stream, backups, kept, read
from deploy.embedded.home import Home, size
from deploy.embedded.stack import Stack
from deploy.machine import GIB, check_space
from shared.version import VERSION

STREAMS = "streams"
PREFIX = "aimass-"
RESERVE = GIB // 4
NEEDED = ("nats", "postgres")
MIB = 1024 * 1024


def default_folder(home: Home) -> Path:
    return home.path.with_name(f"{home.path.name}-backups")


class Making:
    """One backup of a stack into a folder of backups."""

    def __init__(self, stack: Stack, destination: Path) -> None:
        self._stack, self._home, self._destination = stack, stack.home, destination.absolute()
        self._begun = time.monotonic()

    def make(self, keep: int | None = None) -> Path:
        """Make it whole or not at all, then remove all but the newest `keep`; returns its folder."""
        self._check()
        with self._stack.locked(), self._draft() as draft:
            manifest = self._fill(draft)
            manifest.write(draft)
            files.settle(draft)
            whole = draft.with_name(draft.name.removesuffix(PARTIAL).removeprefix("."))
            draft.rename(whole)
        files.sync(self._destination)
        self._say(f"{len(manifest.files)} files, {manifest.size / MIB:.0f} MiB: {whole}")
        if keep is not None:
            self._prune(keep)
        if manifest.left_out:
            raise BackupFailed(
                f"{whole} is whole but for artifacts that were altered before, and cannot be used: "
                f"{', '.join(manifest.left_out)}"
            )
        return whole

    def _check(self) -> None:
        self._stack.check_running()
        down = [part for part in NEEDED if not self._stack.is_ready(part)]
        if down:
            raise BackupFailed(f"{', '.join(down)} of {self._home.path} must run for a backup: ./justw status")
        if self._destination.is_relative_to(self._home.path):
            raise BackupFailed(f"{self._destination} lies in the state folder itself: choose another place")
        earlier = self._earlier()
        copied = files.bytes_to_copy(self._home, earlier[0] if earlier else None)
        check_space(self._destination, self._servers_state() + copied + RESERVE, "The backup")

    def _servers_state(self) -> int:
        return size(self._home.cluster) + size(self._home.path / "nats")

    def _earlier(self) -> tuple[Path, Manifest] | None:
        """The newest backup in the same place, whose artifacts need no copy."""
        return next(reversed(self._readable()), None)

    def _readable(self) -> list[tuple[Path, Manifest]]:
        """The backups there, the oldest first, without those that cannot be put back any more."""
        found = []
        for path in backups(self._destination):
            try:
                found.append((path, read(path)))
            except BackupFailed as error:
                self._say(f"left alone: {error}")
        return found

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        """A hidden folder that nobody takes for a backup, locked while it is written and gone if that fails."""
        self._destination.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        draft = self._destination / f".{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}{PARTIAL}"
        draft.mkdir(mode=0o700)
        descriptor = os.open(draft, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield draft
        except BaseException:
            shutil.rmtree(draft)
            raise
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what killed backups left; one that is still written is locked."""
        for left in self._destination.glob(f".{PREFIX}*{PARTIAL}"):
            descriptor = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            except BlockingIOError:
                self._say(f"{left} is being written by another backup")
            finally:
                os.close(descriptor)

    def _fill(self, draft: Path) -> Manifest:
        dsn, earlier = self._stack.plan.admin_dsn, self._earlier()
        began, since = database.now(dsn), database.now(dsn, seconds_ago=database.MARGIN_SECONDS)
        with files.held(self._home):
            kept_streams, bus = asyncio.run(self._keep_streams(draft))
            audit = database.audit_head(self._stack.info["postgres"])
            database.keep(dsn, draft, self._home.launch_file("basebackup"), self._say)
            ended = database.now(dsn)
            self._say("database kept")
            kept_streams = asyncio.run(self._with_numbers_given(kept_streams))
            held, unsound = files.keep_artifacts(self._home, draft, earlier, self._say)
        self._say(f"artifacts kept: {len(held)}")
        return Manifest(
            version=VERSION,
            source=str(self._home.path),
            postgres=database.server_version(dsn),
            bus=bus,
            began_at=began,
            replay_since=since,
            database_at=ended,
            migrations=database.migrations(self._stack.info["postgres"]),
            audit=audit,
            streams=kept_streams,
            left_out=unsound,
            unpacked=self._servers_state() + files.bytes_to_copy(self._home, None),
            files=_digests(draft) | held | files.keep_own_files(self._home, draft),
        )

    async def _keep_streams(self, draft: Path) -> tuple[dict[str, Stream], str]:
        (draft / STREAMS).mkdir(mode=0o700)
        connection = await streams.connect(self._stack.plan.bus_admin_url)
        try:
            found = {}
            for name in await streams.names(connection):
                found[name] = await streams.keep(connection, name, draft / STREAMS / name)
                self._say(f"stream {name} kept: {found[name].state['messages']} messages")
            return found, str(connection.connected_server_version)
        finally:
            await connection.close()

    async def _with_numbers_given(self, found: dict[str, Stream]) -> dict[str, Stream]:
        """With the numbers that the streams have come to: the database may know them."""
        connection = await streams.connect(self._stack.plan.bus_admin_url)
        try:
            return {name: replace(stream, given=await streams.last(connection, name)) for name, stream in found.items()}
        finally:
            await connection.close()

    def _prune(self, keep: int) -> None:
        """Remove the oldest backups of this state folder but for `keep`."""
        mine = [path for path, manifest in self._readable() if manifest.source == str(self._home.path)]
        for old in mine[:-keep]:
            doomed = old.with_name(f".{old.name}{PARTIAL}")
            old.rename(doomed)
            shutil.rmtree(doomed)
            self._say(f"removed {old}")

    def _say(self, text: str) -> None:
        self._stack.say(f"{time.monotonic() - self._begun:5.1f} s  {text}")


def _digests(draft: Path) -> dict[str, Kept]:
    """Of streams and database."""
    paths = [path for name in (STREAMS, database.FOLDER) for path in (draft / name).iterdir()]
    return {str(path.relative_to(draft)): kept(path) for path in paths}
