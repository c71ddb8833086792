"""What the gateway keeps of an API key: its digest as the name, and who it is; filled by auth through its outbox."""

import hashlib
from datetime import datetime

from pydantic import ConfigDict

from shared.grants import HeldGrant
from shared.keys import Bounds
from shared.names import DEFAULT_PROJECT, Slug
from shared.permissions import Role
from shared.streams import CREDENTIAL_SUBJECT

# The headers that take an entry out of the bucket.
KV_DELETE = {"KV-Operation": "DEL"}


class Credential(Bounds):
    """An entry of the key-value bucket `credentials`: an API key under its digest, or a user, who has an epoch.

    `ended` are sessions of the user that ended one by one.
    """

    model_config = ConfigDict(frozen=True)
    key_id: str
    name: str
    project: Slug = DEFAULT_PROJECT
    roles: tuple[Role, ...] = ()
    expires_at: datetime | None = None
    epoch: int | None = None
    ended: tuple[str, ...] = ()
    grants: tuple[HeldGrant, ...] = ()


def key_digest(secret: str) -> str:
    """sha256 of a key; keys are 256 random bits, so no salt or stretching is needed.

    Looking it up tells nothing by its time: who does not know a key cannot choose how far its digest agrees.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def credential_subject(name: str) -> str:
    """The subject of an entry; an API key's name is its digest."""
    return f"{CREDENTIAL_SUBJECT}.{name}"
