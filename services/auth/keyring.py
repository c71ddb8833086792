"""The keys that sign tokens: private halves in a file for its owner's eyes only, public halves for every gateway."""

import asyncio
import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.auth import entries, store, tokens
from services.auth.bootstrap import RECONCILE_SECONDS, Transaction, write_private
from services.auth.invitations import store as invitation_store
from services.auth.sessions import store as session_store
from services.auth.tokens import SigningKey
from shared import observe
from shared.context import Context
from shared.work import Work


class Keyring:
    """Private keys by their ids, in one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._keys = _read(file)

    @property
    def kids(self) -> frozenset[str]:
        return frozenset(self._keys)

    def private(self, kid: str) -> dict[str, Any]:
        return self._keys[kid]

    async def add(self, private: dict[str, Any]) -> None:
        await self._keep(self._keys | {private["kid"]: private})

    async def keep_only(self, kids: Collection[str]) -> None:
        if not self._keys.keys() <= set(kids):
            await self._keep({kid: key for kid, key in self._keys.items() if kid in kids})

    async def _keep(self, keys: dict[str, dict[str, Any]]) -> None:
        await asyncio.to_thread(write_private, self._file, json.dumps(keys))
        self._keys = keys


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """None in a file that is missing or broken: another key is made then, and tokens of before go on."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        observe.log().error("keys that sign tokens cannot be read", file=str(file))
        return {}
    return found


class SigningKeys:
    """Sees to it that there is a key that signs, and that keys go when their last token has ended."""

    def __init__(self, keyring: Keyring, transaction: Transaction, idle: timedelta) -> None:
        self._keyring = keyring
        self._transaction = transaction
        self._idle = idle
        self._problem = "the key that signs tokens is not made yet"

    async def problem(self) -> str:
        return self._problem

    async def run(self) -> None:
        while True:
            await self.ensure()
            await asyncio.sleep(RECONCILE_SECONDS)

    async def ensure(self) -> None:
        """One process at a time; a key whose private half is elsewhere or lost stays, and another one signs."""
        now = datetime.now(UTC)
        async with self._transaction(Context(actor="auth")) as work:
            keys = await self._locked(work)
            await self._forget([key for key in keys if not key.counts(now)], work)
            await self._keyring.keep_only({key.kid for key in keys if key.counts(now)})
            if not any(key.kid in self._keyring.kids and key.may_sign(now) for key in keys):
                await self._add(work, now)
            await store.prune_attempts(work.tx)
            await session_store.prune(work.tx, self._idle)
            await invitation_store.prune(work.tx)
        self._problem = ""

    async def rotate(self, work: Work[Any]) -> SigningKey:
        """Another key; older ones count until the last token that they may sign has ended."""
        now = datetime.now(UTC)
        for key in await self._locked(work):
            await store.retire_signing_key(work.tx, tokens.retire(key, now))
        return await self._add(work, now)

    async def _locked(self, work: Work[Any]) -> list[SigningKey]:
        await store.lock_bootstrap(work.tx, "signing key")
        return await store.signing_keys(work.tx)

    async def _add(self, work: Work[Any], now: datetime) -> SigningKey:
        """The private half is written down before the transaction that makes the public half count."""
        private = await asyncio.to_thread(tokens.new_private_key)
        await self._keyring.add(private)
        key = SigningKey(private["kid"], tokens.public_half(private), now)
        await store.insert_signing_key(work.tx, key)
        entries.put_signing_key(work, key)
        observe.log().info("signing key made", kid=key.kid)
        return key

    async def _forget(self, keys: list[SigningKey], work: Work[Any]) -> None:
        for key in keys:
            await store.delete_signing_key(work.tx, key.kid)
            entries.remove_signing_key(work, key)
