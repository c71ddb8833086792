"""Slugs, ids and subjects: every name that becomes a subject, a path or a Triton name is made here."""

import re
from collections.abc import Iterable
from typing import Annotated

import uuid_utils
from pydantic import StringConstraints

SLUG_PATTERN = r"^[a-z0-9_-]{1,64}$"
Slug = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
MODEL_PATTERN = r"^([a-z0-9_-]{1,64}\.)?[a-z0-9_-]{1,64}$"
ModelName = Annotated[str, StringConstraints(pattern=MODEL_PATTERN)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
DEFAULT_PROJECT = "default"
CHAMPION = "champion"
MOST_LISTED = 12
_MODEL = re.compile(MODEL_PATTERN)
_SLUG = re.compile(SLUG_PATTERN)


def new_id() -> str:
    """A UUIDv7 (RFC 9562): sorts by time of creation."""
    return str(uuid_utils.uuid7())


def uuid_text(uuid: bytes) -> str:
    """The text of a UUID's 16 bytes."""
    digits = uuid.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def is_model_name(name: str) -> bool:
    """A model of the own project, or a shared one as <project>.<model>."""
    return _MODEL.fullmatch(name) is not None


def is_slug(name: str) -> bool:
    return _SLUG.fullmatch(name) is not None


def triton_name(project: str, model: str, version: int) -> str:
    """The name of a version in Triton; dots cannot occur in slugs, so it is unambiguous."""
    return f"{project}.{model}.{version}"


def listed(names: Iterable[str], quote: str = "'") -> str:
    """Names that a file or a person brought, for people: not more than they read."""
    known = list(names)
    shown = ", ".join(f"{quote}{name[:64]}{quote}" for name in known[:MOST_LISTED])
    return f"{shown} and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else shown or "none"
