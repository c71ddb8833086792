"""A home made of a backup: looked at whole first, built beside the place where it goes, moved there at the end."""

import asyncio
import shutil
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from deploy.backup import database, files, streams
from deploy.backup.errors import BackupFailed
from deploy.backup.making import RESERVE, STREAMS
from deploy.backup.manifest import Manifest, problems, read
from deploy.embedded.home import Home
from deploy.embedded.stack import Stack
from deploy.machine import check_space

DRAFT = ".restoring"
SHOWN = 20
NEEDED = ("nats", "postgres")
OF_THIS_RUN = ("run", "ports.json", "lock", "stack.json")


def checked(source: Path) -> Manifest:
    """The manifest of a backup that can be put back; raises BackupFailed with what is wrong, file by file."""
    manifest = read(source)
    found = list(islice(problems(source, manifest), SHOWN + 1))
    if found:
        more = ["…"] if len(found) > SHOWN else []
        raise BackupFailed("\n  ".join([f"{source} is not as it was made:", *found[:SHOWN], *more]))
    if manifest.postgres != (here := database.installed_version()):
        raise BackupFailed(f"{source} is of PostgreSQL {manifest.postgres}; installed is {here}, which cannot read it")
    if unknown := database.unknown_migrations(manifest.migrations):
        raise BackupFailed("\n  ".join([f"{source} is of a newer version; this one does not know", *unknown]))
    return manifest


class Restoring:
    """One backup into one home."""

    def __init__(self, source: Path, stack: Stack) -> None:
        self._source, self._stack, self._home = source.absolute(), stack, stack.home
        self._draft = self._home.path.with_name(f"{self._home.path.name}{DRAFT}")
        self._begun = time.monotonic()

    def restore(self, replace: bool = False) -> Manifest:
        """Put it back; what lies in the home is refused, or moved aside where it may be replaced."""
        self._check_home(replace)
        manifest = checked(self._source)
        self._say(f"{len(manifest.files)} files are as they were made")
        check_space(self._draft, manifest.unpacked + RESERVE, "The restored state")
        self._build(manifest)
        self._check_home(replace)
        if self._home.path.exists():
            aside = self._home.path.with_name(f"{self._home.path.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
            self._home.path.rename(aside)
            self._say(f"what was there before: {aside}")
        self._draft.rename(self._home.path)
        files.sync(self._home.path.parent)
        self._say(f"restored: {self._home.path}, as it was at {manifest.database_at}")
        return manifest

    def _check_home(self, replace: bool) -> None:
        if self._home.path.exists() and self._stack.runs():
            raise BackupFailed(f"a stack runs in {self._home.path}: stop it first with ./justw down")
        if self._home.path.exists() and any(self._home.path.iterdir()) and not replace:
            raise BackupFailed(
                f"{self._home.path} is not empty: choose another with --home, or have it moved aside by --replace"
            )

    def _build(self, manifest: Manifest) -> None:
        """A whole home in the draft's folder, its servers stopped."""
        draft = Stack(self._draft, parts=(), say=lambda _: None)
        if self._draft.exists():
            draft.down()
            shutil.rmtree(self._draft)
        home = Home(self._draft)
        home.folder()
        try:
            files.put_back(self._source, home)
            home.folder("postgres")
            database.put_back(self._source, home.cluster)
            self._say("artifacts and database are copied")
            self._bring_together(draft, manifest)
        except BaseException:
            draft.down()
            shutil.rmtree(self._draft)
            raise
        for name in OF_THIS_RUN:
            path = self._draft / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        files.settle(self._draft)

    def _bring_together(self, draft: Stack, manifest: Manifest) -> None:
        """Streams onto the bus, and outboxes and inboxes to where the streams end."""
        draft.up()
        draft.start(NEEDED)
        database.check_audit(draft.plan.admin_dsn_for("aimass"), manifest.audit)
        asyncio.run(self._put_streams_back(draft.plan.bus_admin_url, manifest))
        again = database.replay(draft.plan.admin_dsn_for("aimass"), manifest.replay_since)
        self._say(f"{again} messages of the outboxes will be published again")
        draft.down()

    async def _put_streams_back(self, url: str, manifest: Manifest) -> None:
        connection = await streams.connect(url)
        try:
            for name, stream in manifest.streams.items():
                await streams.put_back(connection, name, stream, self._source / STREAMS / stream.file)
                await streams.skip_given_numbers(connection, name, stream)
                self._say(f"stream {name} is back: {stream.state['messages']} messages")
        finally:
            await connection.close()

    def _say(self, text: str) -> None:
        self._stack.say(f"{time.monotonic() - self._begun:5.1f} s  {text}")
