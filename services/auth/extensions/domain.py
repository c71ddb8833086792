"""Extensions: what one may hear and say, under which names on the bus, and with which limits; pure."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

from services.auth.extensions.protos import check_together, schema_of
from services.auth.extensions.schemas import check_schema
from shared.credentials import key_digest
from shared.errors import InvalidInput
from shared.events import EVENTS
from shared.names import new_id
from shared.rpc.auth import ChangeExtension, ExtensionCredentials, ExtensionView, Lag, RegisterExtension

PREFIX = "ext-"
USER_PREFIX = "ext."
CONSUMER_PREFIX = "ext:"
STREAM = "EVT"
MOST_EXTENSIONS = 50
MAX_WAITING, MAX_BATCH = 16, 256
PASSWORD_PREFIX = "aimext_"  # noqa: S105
_TOKEN = re.compile(r"[a-z0-9_-]{1,80}|\*|>")
_FACT = re.compile(r"[a-z][a-z0-9_]{0,63}")
_NAMES = {event.__name__: event for event in EVENTS.values() if event.stream == STREAM}


@dataclass(frozen=True)
class Extension:
    """An extension as it is stored. `starts_at` is where its history begins, None for the oldest event there is."""

    id: str
    project: str
    name: str
    hears: tuple[str, ...]
    says: dict[str, dict[str, Any]]
    starts_at: datetime | None
    ack_wait: int
    max_ack_pending: int
    events_per_second: int
    max_bytes: int
    digest: str
    created_by: str
    created_at: datetime
    changed_at: datetime
    disabled_at: datetime | None = None

    @property
    def user(self) -> str:
        """Its name on the bus; dots cannot occur in slugs, so it is nobody else's."""
        return f"{USER_PREFIX}{self.project}.{self.name}"

    @property
    def pass_name(self) -> str:
        """By which name it is let in; another one after each change, so that nobody stays who came in before."""
        return f"{self.user}/{self.changed_at.astimezone(UTC).isoformat()}"

    @property
    def consumer(self) -> str:
        return f"{CONSUMER_PREFIX}{self.project}:{self.name}"

    @property
    def inbox(self) -> str:
        return f"_INBOX_{self.user}"

    @property
    def source(self) -> str:
        """What its events name as their source: no service's, and no other project's."""
        return f"{PREFIX}{self.name}/{self.project}"

    @property
    def filters(self) -> list[str]:
        return sorted(f"evt.{self.project}.{pattern}" for pattern in self.hears)

    def intake(self, fact: str) -> str:
        return f"ext.{self.project}.{self.name}.v1.{fact}"

    def event_subject(self, fact: str) -> str:
        return f"evt.{self.project}.{PREFIX}{self.name}.v1.{fact}"

    def is_password(self, password: str) -> bool:
        return secrets.compare_digest(self.digest, key_digest(password))

    def permissions(self) -> dict[str, Any]:
        """All that it may do: fetch from its consumer and acknowledge, and say its facts where they are checked."""
        publish = [self.intake(fact) for fact in sorted(self.says)]
        if self.hears:
            publish += [f"$JS.API.CONSUMER.{verb}.{STREAM}.{self.consumer}" for verb in ("INFO", "MSG.NEXT")]
            publish.append(f"$JS.ACK.{STREAM}.{self.consumer}.>")
        return {
            "pub": {"allow": publish} if publish else {"deny": [">"]},
            "sub": {"allow": [f"{self.inbox}.>"]},
            "subs": 64,
            "payload": self.max_bytes + 4096,
        }

    def view(self, lag: Lag | None = None) -> ExtensionView:
        return ExtensionView(
            name=self.name,
            project=self.project,
            hears=list(self.hears),
            says=self.says,
            starts_at=self.starts_at,
            ack_wait=self.ack_wait,
            max_ack_pending=self.max_ack_pending,
            events_per_second=self.events_per_second,
            max_bytes=self.max_bytes,
            created_by=self.created_by,
            created_at=self.created_at,
            disabled_at=self.disabled_at,
            lag=lag,
        )

    def credentials(self, url: str, password: str) -> ExtensionCredentials:
        return ExtensionCredentials(
            url=url,
            user=self.user,
            password=password,
            inbox_prefix=self.inbox,
            stream=STREAM,
            consumer=self.consumer if self.hears else "",
            publish={fact: self.intake(fact) for fact in sorted(self.says)},
        )


def new_password() -> str:
    """A password that nobody can guess: 256 random bits."""
    return PASSWORD_PREFIX + secrets.token_hex(32)


def draft(request: RegisterExtension, password: str, *, project: str, by: str, now: datetime) -> Extension:
    """The extension that was asked for; raises InvalidInput naming the field that cannot be."""
    if not request.hears and not request.says:
        raise InvalidInput("an extension hears something (hears) or says something (says)", field="hears")
    return Extension(
        id=new_id(),
        project=project,
        name=request.name,
        hears=_patterns(request.hears),
        says=_facts(request.says),
        starts_at=_start(request.start, now),
        ack_wait=request.ack_wait,
        max_ack_pending=request.max_ack_pending,
        events_per_second=request.events_per_second,
        max_bytes=request.max_bytes,
        digest=key_digest(password),
        created_by=by,
        created_at=now,
        changed_at=now,
    )


def changed(extension: Extension, request: ChangeExtension, now: datetime) -> Extension:
    """The extension with what the request names; one that is disabled already keeps the time."""
    after = replace(
        extension,
        hears=extension.hears if request.hears is None else _patterns(request.hears),
        says=extension.says if request.says is None else _facts(request.says),
        changed_at=now,
    )
    if not after.hears and not after.says:
        raise InvalidInput("it would hear and say nothing: delete it instead", field="hears")
    if request.disabled is None:
        return after
    return replace(after, disabled_at=(extension.disabled_at or now) if request.disabled else None)


def rotated(extension: Extension, password: str, now: datetime) -> Extension:
    return replace(extension, digest=key_digest(password), changed_at=now)


def name_of(user: str) -> tuple[str, str] | None:
    """Project and name of the extension whose user this would be."""
    tokens = user.split(".")
    return (tokens[1], tokens[2]) if len(tokens) == 3 and user.startswith(USER_PREFIX) else None


def must_go(pass_name: str, known: Mapping[str, Extension]) -> bool:
    """Whether who came in by this name is one of before the last change, or nobody who may be here."""
    if not pass_name.startswith(USER_PREFIX):
        return False
    extension = known.get(pass_name.partition("/")[0])
    return extension is None or extension.disabled_at is not None or pass_name != extension.pass_name


def _start(start: datetime | str, now: datetime) -> datetime | None:
    if isinstance(start, str):
        return None if start == "all" else now
    if start > now:
        raise InvalidInput("a start lies in the past; leave it out to begin now", field="start")
    return start.astimezone(UTC)


def _patterns(hears: Sequence[str]) -> tuple[str, ...]:
    """Subjects below the project's; an event may be named by its type alone."""
    found = tuple(sorted({_pattern(wanted) for wanted in hears}))
    for one, other in combinations(found, 2):
        if _overlap(one.split("."), other.split(".")):
            raise InvalidInput(f"{one!r} and {other!r} would hear the same event twice: leave one out", field="hears")
    return found


def _pattern(wanted: str) -> str:
    if (event := _NAMES.get(wanted)) is not None:
        return event.subject("*").split(".", 2)[2]
    tokens = wanted.split(".")
    whole = all(_TOKEN.fullmatch(token) for token in tokens) and ">" not in tokens[:-1]
    if not whole or len(tokens) > 3 or (len(tokens) < 3 and tokens[-1] != ">"):
        message = f"{wanted[:100]!r} is neither the type of an event, such as VersionPromoted, nor a subject"
        raise InvalidInput(
            f"{message} below the project, such as models.v1.version_promoted or models.>", field="hears"
        )
    return wanted


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    for left, right in zip(one, other, strict=False):
        if ">" in (left, right):
            return True
        if left != right and "*" not in (left, right):
            return False
    return len(one) == len(other)


def _facts(says: Mapping[str, dict[str, Any] | str]) -> dict[str, dict[str, Any]]:
    check_together(says.values())
    found: dict[str, dict[str, Any]] = {}
    for fact, told in says.items():
        if not _FACT.fullmatch(fact):
            message = f"{fact[:100]!r} names no fact: small letters, digits and underscores, such as order_placed"
            raise InvalidInput(message, field="says")
        found[fact] = schema_of(told, fact, f"says.{fact}") if isinstance(told, str) else told
        check_schema(found[fact], f"says.{fact}")
    return found
