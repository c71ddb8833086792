"""The gateway's memory of API keys, users and keys that sign tokens, kept equal to the bucket that auth fills.

No watch: every 500 ms the bucket's last sequence is compared and what is new is read. A revoke is also broadcast, and
so is word of other changes, which are then read at once.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import jwt
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import StreamInfo

from services.gateway import metrics
from services.gateway.limits.rules import Rules
from shared import observe
from shared.bus import Bus
from shared.credentials import Credential
from shared.errors import Unavailable
from shared.names import DEFAULT_PROJECT
from shared.permissions import Permission, granted
from shared.reading import Stored, StreamReader
from shared.streams import CHANGED_SUBJECT, CREDENTIAL_SUBJECT, CREDENTIALS, REVOKED_SUBJECT
from shared.tokens import ALGORITHM, SIGNING_KEY, PublicJwk, signing_key_name

CHECK_SECONDS = 0.5
BUCKET = f"KV_{CREDENTIALS}"


class PublicKey(NamedTuple):
    """A key that tokens are checked with, and how others are told of it."""

    name: str
    key: jwt.PyJWK
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Principal:
    """The owner of an API key, or a user, and what it may do. `name` is the entry's in the bucket."""

    name: str
    key_id: str
    project: str
    permissions: frozenset[Permission]
    expires: float | None = None
    epoch: int | None = None
    rules: Rules | None = None

    @classmethod
    def of(cls, name: str, credential: Credential) -> "Principal":
        expires = credential.expires_at.timestamp() if credential.expires_at else None
        permissions, rules = granted(credential.roles), Rules.of(credential)
        return cls(name, credential.key_id, credential.project, permissions, expires, credential.epoch, rules)


Entry = Principal | PublicKey
ANONYMOUS = Principal("", "", DEFAULT_PROJECT, frozenset())


class CredentialCache:
    """Entries by their names in the bucket; of no use before it is loaded and when it was not checked lately."""

    def __init__(self, stale_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._checked: float | None = None
        self._entries: dict[str, Entry] = {}

    def find(self, name: str) -> Principal | None:
        found = self._entries.get(name)
        return found if isinstance(found, Principal) else None

    def signing_key(self, kid: str) -> PublicKey | None:
        found = self._entries.get(signing_key_name(kid))
        return found if isinstance(found, PublicKey) else None

    def signing_keys(self) -> list[PublicKey]:
        return [entry for entry in self._entries.values() if isinstance(entry, PublicKey)]

    def put(self, entry: Entry) -> None:
        self._entries[entry.name] = entry

    def remove(self, name: str) -> None:
        self._entries.pop(name, None)

    def replace(self, entries: dict[str, Entry]) -> None:
        self._entries = entries

    def confirm(self) -> None:
        """What is here equals the bucket now."""
        self._checked = self._clock()
        metrics.CREDENTIALS.set(len(self._entries))

    def problem(self) -> str:
        if self._checked is None:
            return "they are not loaded yet"
        age = self._clock() - self._checked
        return f"they were last compared {age:.0f} s ago" if age > self._stale_seconds else ""

    async def report(self) -> str:
        return self.problem()


class CredentialFeed:
    """Keeps the cache equal to the bucket."""

    def __init__(self, cache: CredentialCache, bus: Bus, reader: StreamReader) -> None:
        self._cache, self._bus, self._reader = cache, bus, reader
        self._subscriptions: list[Subscription] = []
        self._changed = asyncio.Event()
        self._created: datetime | None = None
        self._position = 0
        self._subjects: set[str] = set()

    async def run(self) -> None:
        if not self._subscriptions:
            for subject, heard in ((REVOKED_SUBJECT, self._on_revoked), (CHANGED_SUBJECT, self._on_changed)):
                self._subscriptions.append(await self._bus.connection.subscribe(subject, cb=heard))
        while True:
            self._changed.clear()
            await self._compare()
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._changed.wait()

    async def _on_revoked(self, message: Msg) -> None:
        for name in message.data.decode("ascii", "replace").split():
            self._cache.remove(name)

    async def _on_changed(self, _: Msg) -> None:
        self._changed.set()

    async def _compare(self) -> None:
        try:
            info = await self._reader.info()
            if self._is_another(info):
                await self._load(info)
            else:
                await self._catch_up(info)
        except Unavailable as error:
            observe.log().debug("credentials not compared", error=error.message)

    def _is_another(self, info: StreamInfo) -> bool:
        """The bucket was made anew, or went back, or lost entries."""
        return self._created != info.created or info.state.last_seq < self._position

    async def _load(self, info: StreamInfo) -> None:
        found: dict[str, Entry] = {}
        subjects: set[str] = set()
        position = 0
        while position < info.state.last_seq and (stored := await self._after(position)):
            position = stored.sequence
            subjects.add(stored.subject)
            if entry := _entry(stored):
                found[entry.name] = entry
        self._cache.replace(found)
        self._created, self._position, self._subjects = info.created, position, subjects
        metrics.CREDENTIALS_LOADS.inc()
        self._finish(info)

    async def _catch_up(self, info: StreamInfo) -> None:
        while self._position < info.state.last_seq and (stored := await self._after(self._position)):
            self._position = stored.sequence
            self._subjects.add(stored.subject)
            if entry := _entry(stored):
                self._cache.put(entry)
            else:
                self._cache.remove(_name(stored))
        self._finish(info)

    def _finish(self, info: StreamInfo) -> None:
        """The bucket holds one message a name, so a difference in number means that it lost some."""
        if len(self._subjects) != info.state.messages and self._position <= info.state.last_seq:
            self._created = None
        self._cache.confirm()

    async def _after(self, position: int) -> Stored | None:
        return await self._reader.next(f"{CREDENTIAL_SUBJECT}.>", sequence=position + 1)


def _name(stored: Stored) -> str:
    return stored.subject.removeprefix(f"{CREDENTIAL_SUBJECT}.")


def _entry(stored: Stored) -> Entry | None:
    """None for what was revoked, disabled or retired, and for an entry that cannot be read."""
    if stored.headers.get("KV-Operation") or not stored.data:
        return None
    name = _name(stored)
    try:
        if name.startswith(f"{SIGNING_KEY}."):
            return _public_key(name, stored.data)
        return Principal.of(name, Credential.model_validate_json(stored.data))
    except (ValueError, jwt.PyJWTError) as error:
        observe.log().error("unreadable entry refused", sequence=stored.sequence, error=type(error).__name__)
        return None


def _public_key(name: str, data: bytes) -> PublicKey:
    document = PublicJwk.model_validate_json(data).model_dump()
    return PublicKey(name, jwt.PyJWK(document, ALGORITHM), document)
