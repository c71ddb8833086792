"""Requests about API keys that auth answers, once a key is made."""

from datetime import date
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import Conflict
from shared.moments import Moment
from shared.rpc.auth import ApiKeyCreated
from shared.rpc.base import Reply, Request

LONGEST_OVERLAP = 30 * 24 * 3600


class RotateApiKey(Request[ApiKeyCreated]):
    """Give a key another secret, shown this once; the one before counts for so many seconds more."""

    awaits_publication: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    not_kept: ClassVar[frozenset[str]] = frozenset({"secret"})
    key_id: str
    overlap_seconds: int = Field(default=3600, ge=0, le=LONGEST_OVERLAP)

    @classmethod
    def service(cls) -> str:
        return "auth"

    @classmethod
    def repeated(cls, kept: dict[str, Any]) -> ApiKeyCreated:
        """Raises Conflict: the secret is not known any more."""
        message = f"this Idempotency-Key rotated the API key {kept['id']}, whose new secret was shown once: rotate it"
        raise Conflict(f"{message} again with a new Idempotency-Key", field="Idempotency-Key")


class KeyUse(BaseModel):
    """How often a gateway let a key in since it told last, and when for the last time; 0 only asks for the day."""

    model_config = ConfigDict(extra="forbid")
    key_id: Annotated[str, Field(max_length=100)]
    requests: int = Field(ge=0)
    last_used_at: Moment | None = None


class KeyDays(Reply):
    """How often each of the keys was let in on a day, at all gateways that told."""

    day: date
    requests: dict[str, int] = {}


class NoteKeyUses(Request[KeyDays]):
    """Keep when keys were used, as a gateway tells once a minute for all of them."""

    day: date
    uses: list[KeyUse] = Field(max_length=10_000)

    @classmethod
    def service(cls) -> str:
        return "auth"
