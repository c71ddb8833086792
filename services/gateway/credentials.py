"""The gateway's memory of API keys, users and keys that sign tokens, kept equal to the bucket that auth fills.

No watch: every 500 ms the bucket's last sequence is compared and what is new is read. A revoke is also broadcast, and
so is word of other changes, which are then read at once.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from sys import intern
from typing import Any, NamedTuple

import jwt
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import StreamInfo

from services.gateway import metrics
from services.gateway.limits.rules import Rules
from services.gateway.rights import Held, RoleBook, one_of, rights_of
from shared import observe
from shared.bus import Bus
from shared.credentials import Credential
from shared.errors import Unavailable
from shared.grants import EVERYWHERE, NO_TAGS, ROLE, HeldGrant, RoleEntry
from shared.names import DEFAULT_PROJECT
from shared.permissions import Permission, Role, granted
from shared.quotas import QUOTA, ProjectState, UsedUp, quota_name
from shared.reading import Stored, StreamReader
from shared.sharing import ARCHIVED, SHARE, TAGS, SharedModel, TaggedModel, archived_name, share_name, tags_name
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
    """The owner of an API key, or a user, and what it may do. `name` is the entry's in the bucket.

    `permissions` need no look further; `held` are the grants that count, of which some may have conditions. Both count
    `until` a time, and as long as the `edition` of the roles is the same. `session` is that of the token which was
    shown; `ended` are those of the user that count no more.
    """

    name: str
    key_id: str
    project: str
    permissions: frozenset[Permission]
    expires: float | None = None
    epoch: int | None = None
    roles: tuple[Role, ...] = ()
    grants: tuple[HeldGrant, ...] = ()
    ended: frozenset[str] = frozenset()
    session: str = ""
    held: tuple[Held, ...] = ()
    edition: int = -1
    until: float = 0.0
    rules: Rules | None = None

    @classmethod
    def of(cls, name: str, credential: Credential) -> "Principal":
        expires = credential.expires_at.timestamp() if credential.expires_at else None
        rules, permissions = Rules.of(credential), granted(credential.roles)
        permissions = one_of(rules.within(permissions)) if rules else permissions
        who = (name, credential.key_id, intern(credential.project), permissions)
        rights = (expires, credential.epoch, credential.roles, credential.grants)
        return cls(*who, *rights, frozenset(credential.ended), rules=rules)

    def working_in(self, project: str) -> "Principal | None":
        """The same in another project, where the roles do not count; None without a grant that may count there."""
        if project == self.project:
            return self
        if not any(grant.project in (project, EVERYWHERE) for grant in self.grants):
            return None
        return replace(self, project=project, permissions=frozenset(), roles=(), edition=-1)


@dataclass(frozen=True, slots=True)
class CustomRole:
    """A custom role, under its entry's name in the bucket."""

    name: str
    entry: RoleEntry


class Archived(NamedTuple):
    """A project that nobody is let into."""

    name: str


class Shares(NamedTuple):
    """Who else may see a model, and ask it."""

    name: str
    model: SharedModel


class Tagged(NamedTuple):
    """What grants that are limited to tags look at."""

    name: str
    tags: frozenset[str]


class UsedUpQuotas(NamedTuple):
    """The quotas that refuse a project's predictions now, and its files. `name` is the entry's in the bucket."""

    name: str
    quotas: tuple[UsedUp, ...]
    storage: UsedUp | None = None


Entry = Principal | PublicKey | CustomRole | Archived | Shares | Tagged | UsedUpQuotas
ANONYMOUS = Principal("", "", DEFAULT_PROJECT, frozenset())


class CredentialCache:
    """Entries by their names in the bucket; of no use before it is loaded and when it was not checked lately."""

    def __init__(self, stale_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._checked: float | None = None
        self._entries: dict[str, Entry] = {}
        self._roles = RoleBook()

    def find(self, name: str, project: str = "") -> Principal | None:
        """Who has this entry, with what counts now; in another project than that of the entry where one is named."""
        found = self._entries.get(name)
        if not isinstance(found, Principal):
            return None
        if project and project != found.project:
            elsewhere = found.working_in(project)
            return None if elsewhere is None else self._resolved(elsewhere, time.time())
        return self._current(found) if found.grants else found

    def _current(self, principal: Principal) -> Principal:
        now = time.time()
        if principal.edition == self._roles.edition and now < principal.until:
            return principal
        resolved = self._resolved(principal, now)
        self._entries[principal.name] = resolved
        return resolved

    def _resolved(self, principal: Principal, now: float) -> Principal:
        own, permissions = granted(principal.roles), self._roles.permissions
        found = rights_of(own, principal.grants, principal.project, now, permissions)
        edition = self._roles.edition
        if (rules := principal.rules) is not None:
            narrowed = tuple(Held(each.grant, rules.within(each.permissions)) for each in found.held)
            found = found._replace(free=rules.within(found.free), held=narrowed)
        tags = partial(self.tags, principal.project)
        held = tuple(each._replace(tags=tags) if each.grant.is_by_tag() else each for each in found.held)
        return replace(principal, permissions=one_of(found.free), held=held, until=found.until, edition=edition)

    def used_up(self, project: str) -> tuple[UsedUp, ...]:
        found = self._entries.get(quota_name(project))
        return found.quotas if isinstance(found, UsedUpQuotas) else ()

    def is_full(self, project: str) -> UsedUp | None:
        """The quota that refuses more files of a project."""
        found = self._entries.get(quota_name(project))
        return found.storage if isinstance(found, UsedUpQuotas) else None

    def signing_key(self, kid: str) -> PublicKey | None:
        found = self._entries.get(signing_key_name(kid))
        return found if isinstance(found, PublicKey) else None

    def is_archived(self, project: str) -> bool:
        return archived_name(project) in self._entries

    def shared(self, project: str, model: str) -> SharedModel | None:
        """None for a model that is shared with nobody, or of a project that is archived."""
        found = self._entries.get(share_name(project, model))
        return found.model if isinstance(found, Shares) and not self.is_archived(project) else None

    def tags(self, project: str, model: str) -> frozenset[str]:
        """None of a model that is not known here, nor of another project's."""
        found = self._entries.get(tags_name(project, model))
        return found.tags if isinstance(found, Tagged) else NO_TAGS

    def signing_keys(self) -> list[PublicKey]:
        return [entry for entry in self._entries.values() if isinstance(entry, PublicKey)]

    def put(self, entry: Entry) -> None:
        self._entries[entry.name] = entry
        if isinstance(entry, CustomRole):
            self._roles.put(entry.entry.project, entry.entry.name, entry.entry.known())

    def remove(self, name: str) -> None:
        gone = self._entries.pop(name, None)
        if isinstance(gone, CustomRole):
            self._roles.remove(gone.entry.project, gone.entry.name)

    def replace(self, entries: dict[str, Entry]) -> None:
        self._entries = {}
        self._roles.clear()
        for entry in entries.values():
            self.put(entry)

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
        if name.startswith(f"{ARCHIVED}."):
            return Archived(name)
        if name.startswith(f"{SHARE}."):
            return Shares(name, SharedModel.model_validate_json(stored.data))
        if name.startswith(f"{TAGS}."):
            return Tagged(name, TaggedModel.model_validate_json(stored.data).tags)
        if name.startswith(f"{QUOTA}."):
            state = ProjectState.model_validate_json(stored.data)
            return UsedUpQuotas(name, state.used_up, state.storage)
        if name.startswith(f"{ROLE}."):
            return CustomRole(name, RoleEntry.model_validate_json(stored.data))
        return Principal.of(name, Credential.model_validate_json(stored.data))
    except (ValueError, jwt.PyJWTError) as error:
        observe.log().error("unreadable entry refused", sequence=stored.sequence, error=type(error).__name__)
        return None


def _public_key(name: str, data: bytes) -> PublicKey:
    document = PublicJwk.model_validate_json(data).model_dump()
    return PublicKey(name, jwt.PyJWK(document, ALGORITHM), document)
