"""What auth does by itself: the first admin key, and a bucket of credentials that was lost and is filled again."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from services.auth import domain, entries, store
from services.auth.accounts import store as account_store
from services.auth.grants import store as grants_store
from services.auth.keys import store as keys
from services.auth.projects import entries as projects
from shared import observe
from shared.context import Context
from shared.credentials import credential_subject
from shared.errors import Unavailable
from shared.events.identity import ApiKeyCreated
from shared.grants import role_entry_name
from shared.keys import new_secret
from shared.names import DEFAULT_PROJECT
from shared.permissions import Role
from shared.streams import CREDENTIALS
from shared.tokens import signing_key_name
from shared.work import Work

RECONCILE_SECONDS = 15.0
KNOWN_SECONDS = 0.5  # gateways read the bucket so often, and at once when told
BATCH = 200
Transaction = Callable[[Context], AbstractAsyncContextManager[Work[None]]]
Announce = Callable[[list[str]], Awaitable[None]]


class AdminKey:
    """Makes the first admin key, and writes it down before the transaction that makes it count; auth is ready once
    gateways know it.
    """

    def __init__(self, file: Path, transaction: Transaction, announce: Announce) -> None:
        self._file = file
        self._transaction, self._announce = transaction, announce
        self._problem = "the first admin key is not made yet"

    async def problem(self) -> str:
        return self._problem

    async def ensure(self) -> None:
        async with self._transaction(Context(actor="auth")) as work:
            await store.lock_bootstrap(work.tx, "admin key")
            if not await store.has_admin(work.tx):
                await self._make(work)
        if work.written:
            await self._announce(work.written)
            await asyncio.sleep(KNOWN_SECONDS)
        self._problem = ""

    async def _make(self, work: Work[None]) -> None:
        secret = new_secret()
        key = domain.draft(
            secret,
            project=DEFAULT_PROJECT,
            name="first admin key",
            roles=[Role.ADMIN],
            created_by="auth",
            now=datetime.now(UTC),
        )
        await store.insert(work.tx, key)
        await entries.put_api_key(work, key)
        work.say(ApiKeyCreated(key_id=key.id, name=key.name, roles=key.roles, actor="auth"))
        await asyncio.to_thread(write_private, self._file, secret + "\n")
        observe.log().info("admin key made", key_id=key.id, file=str(self._file))


def write_private(path: Path, text: str) -> None:
    """Write a file for its owner alone, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).rename(path)
    finally:
        Path(draft).unlink(missing_ok=True)


class BucketKeeper:
    """Puts back what the bucket of credentials lost; the table is the truth."""

    def __init__(self, transaction: Transaction, jetstream: Callable[[], JetStreamContext]) -> None:
        self._transaction = transaction
        self._jetstream = jetstream

    async def run(self) -> None:
        while True:
            await self.refill()
            await asyncio.sleep(RECONCILE_SECONDS)

    async def refill(self) -> int:
        """Publish the entries that the bucket misses; returns their number."""
        missing = await self._missing()
        for start in range(0, len(missing), BATCH):
            async with self._transaction(Context(actor="auth")) as work:
                await self._put(work, missing[start : start + BATCH])
        if missing:
            observe.log().warning("credentials put back", count=len(missing))
        return len(missing)

    async def _put(self, work: Work[None], names: list[str]) -> None:
        for key in await store.lock_active(work.tx, names):
            await entries.put_api_key(work, key)
        for rotated in await keys.lock_counting(work.tx, names):
            await entries.put_api_key(work, rotated)
        for user in await store.lock_enabled(work.tx, names):
            await entries.put_user(work, user)
        for account in await account_store.lock_named(work.tx, names):
            await entries.put_account(work, account)
        for signing_key in await store.signing_keys(work.tx):
            if signing_key_name(signing_key.kid) in names:
                entries.put_signing_key(work, signing_key)
        for role in await grants_store.all_roles(work.tx):
            if role_entry_name(role.project, role.name) in names:
                entries.put_role(work, role.entry())
        await projects.put_back(work, names)

    async def _missing(self) -> list[str]:
        async with self._transaction(Context(actor="auth")) as work:
            active = await store.active_names(work.tx)
        present = await self._present()
        return sorted(name for name in active if credential_subject(name) not in present)

    async def _present(self) -> dict[str, int]:
        try:
            info = await self._jetstream().stream_info(f"KV_{CREDENTIALS}", subjects_filter=">")
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            raise Unavailable("the bucket of credentials cannot be read now") from error
        return info.state.subjects or {}
