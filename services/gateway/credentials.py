"""The gateway's memory of API keys, kept equal to the bucket that auth fills.

No watch: every 250 ms the bucket's last sequence is compared and what is new is read. A revoke is also broadcast.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import StreamInfo
from pydantic import ValidationError

from services.gateway import metrics
from services.gateway.reading import Stored, StreamReader
from shared import observe
from shared.bus import Bus
from shared.credentials import Credential
from shared.errors import Unavailable
from shared.permissions import Permission, granted
from shared.streams import CREDENTIAL_SUBJECT, CREDENTIALS, REVOKED_SUBJECT

CHECK_SECONDS = 0.25
BUCKET = f"KV_{CREDENTIALS}"


@dataclass(frozen=True, slots=True)
class Principal:
    """The owner of an API key, and what it may do."""

    digest: str
    key_id: str
    project: str
    permissions: frozenset[Permission]
    expires: float | None = None

    @classmethod
    def of(cls, digest: str, credential: Credential) -> "Principal":
        expires = credential.expires_at.timestamp() if credential.expires_at else None
        return cls(digest, credential.key_id, credential.project, granted(credential.roles), expires)


class CredentialCache:
    """Principals by the digest of their key; of no use before it is loaded and when it was not checked lately."""

    def __init__(self, stale_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._checked: float | None = None
        self._principals: dict[str, Principal] = {}

    def find(self, digest: str) -> Principal | None:
        return self._principals.get(digest)

    def put(self, principal: Principal) -> None:
        self._principals[principal.digest] = principal

    def remove(self, digest: str) -> None:
        self._principals.pop(digest, None)

    def replace(self, principals: dict[str, Principal]) -> None:
        self._principals = principals

    def confirm(self) -> None:
        """What is here equals the bucket now."""
        self._checked = self._clock()
        metrics.CREDENTIALS.set(len(self._principals))

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
        self._revocations: Subscription | None = None
        self._created: datetime | None = None
        self._position = 0
        self._subjects: set[str] = set()

    async def run(self) -> None:
        if self._revocations is None:
            self._revocations = await self._bus.connection.subscribe(REVOKED_SUBJECT, cb=self._on_revoked)
        while True:
            await self._compare()
            await asyncio.sleep(CHECK_SECONDS)

    async def _on_revoked(self, message: Msg) -> None:
        self._cache.remove(message.data.decode("ascii", "replace"))

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
        found: dict[str, Principal] = {}
        subjects: set[str] = set()
        position = 0
        while position < info.state.last_seq and (stored := await self._after(position)):
            position = stored.sequence
            subjects.add(stored.subject)
            if principal := _principal(stored):
                found[principal.digest] = principal
        self._cache.replace(found)
        self._created, self._position, self._subjects = info.created, position, subjects
        metrics.CREDENTIALS_LOADS.inc()
        self._finish(info)

    async def _catch_up(self, info: StreamInfo) -> None:
        while self._position < info.state.last_seq and (stored := await self._after(self._position)):
            self._position = stored.sequence
            self._subjects.add(stored.subject)
            if principal := _principal(stored):
                self._cache.put(principal)
            else:
                self._cache.remove(_digest(stored))
        self._finish(info)

    def _finish(self, info: StreamInfo) -> None:
        """The bucket holds one message a key, so a difference in number means that it lost some."""
        if len(self._subjects) != info.state.messages and self._position <= info.state.last_seq:
            self._created = None
        self._cache.confirm()

    async def _after(self, position: int) -> Stored | None:
        return await self._reader.next(f"{CREDENTIAL_SUBJECT}.>", sequence=position + 1)


def _digest(stored: Stored) -> str:
    return stored.subject.rpartition(".")[2]


def _principal(stored: Stored) -> Principal | None:
    """None for a key that was revoked, and for an entry that cannot be read."""
    if stored.headers.get("KV-Operation") or not stored.data:
        return None
    try:
        return Principal.of(_digest(stored), Credential.model_validate_json(stored.data))
    except ValidationError as error:
        observe.log().error("unreadable credential refused", sequence=stored.sequence, error=error.errors()[0]["msg"])
        return None
