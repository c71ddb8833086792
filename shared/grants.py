"""Grants: a role to somebody, in a project or everywhere, until a time, under a condition; pure.

One rule for all: gateways decide by it, and auth, which lets nobody grant more than he has.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from shared.names import DEFAULT_PROJECT, Slug
from shared.permissions import GRANTS, Permission, Role

EVERYWHERE = "*"
ROLE = "role"
_EVERYWHERE_TOKEN = "ALL"  # noqa: S105 - of a subject: a star would be a wildcard, and no slug is in capitals
PROMOTIONS = frozenset({Permission.MODELS_PROMOTE, Permission.MODELS_FORCE})
NO_MODEL = "no model is named"
NO_TAGS: frozenset[str] = frozenset()
ModelPattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.*?\[\]!-]{1,128}$")]
SubjectKind = Literal["user", "group", "account", "key"]


class Condition(BaseModel):
    """When a grant counts: for models of these names (patterns as in a shell), for those that have one of these tags,
    and for promotions to these aliases."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    models: Annotated[tuple[ModelPattern, ...], Field(max_length=50)] = ()
    aliases: Annotated[tuple[Slug, ...], Field(max_length=50)] = ()
    tags: Annotated[tuple[Slug, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _says_something(self) -> "Condition":
        if not (self.models or self.aliases or self.tags):
            raise ValueError("a condition names models, aliases or tags; leave it out where there is none")
        return self

    def limits(self, permission: Permission) -> bool:
        """Aliases limit promotions alone; names and tags of models limit everything."""
        return bool(self.models or self.tags) or permission in PROMOTIONS

    def allows(self, permission: Permission, model: str, alias: str, tags: AbstractSet[str] = NO_TAGS) -> bool:
        """What is not named is not allowed, nor a model whose tags are not known."""
        if self.tags and tags.isdisjoint(self.tags):
            return False
        if self.models and not any(_matches(model, pattern) for pattern in self.models if model):
            return False
        return permission not in PROMOTIONS or not self.aliases or alias in self.aliases

    def __str__(self) -> str:
        parts = (("models", self.models), ("tags", self.tags), ("aliases", self.aliases))
        return " and ".join(f"{what} {', '.join(names)}" for what, names in parts if names)


def _matches(model: str, pattern: str) -> bool:
    """Project and name each by their own part: 'd*' is no pattern of `default.secret`."""
    parts, patterns = model.split("."), pattern.split(".")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


class HeldGrant(BaseModel):
    """A grant as its holder's entry in the bucket has it, a member's with those of the groups."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    id: str
    role: str
    project: str
    ends_at: AwareDatetime | None = None
    condition: Condition | None = None

    def counts_in(self, scope: str) -> bool:
        """In a project; or everywhere, for which that of the project `default` is enough: it runs the platform."""
        return self.project in (EVERYWHERE, DEFAULT_PROJECT if scope == EVERYWHERE else scope)

    def counts_at(self, moment: datetime) -> bool:
        return self.ends_at is None or moment < self.ends_at

    def free(self, permissions: frozenset[Permission]) -> frozenset[Permission]:
        """What of a role's permissions it grants without looking further."""
        condition = self.condition
        if condition is None:
            return permissions
        return frozenset(permission for permission in permissions if not condition.limits(permission))

    def allows(
        self, permission: Permission, model: str = "", alias: str = "", tags: AbstractSet[str] = NO_TAGS
    ) -> bool:
        return self.condition is None or self.condition.allows(permission, model, alias, tags)

    def is_by_tag(self) -> bool:
        return self.condition is not None and bool(self.condition.tags)


def is_bound_by_tags(free: AbstractSet[Permission], held: Iterable[tuple[HeldGrant, frozenset[Permission]]]) -> bool:
    """Whether somebody may do something only with models of some tags: who also sets tags would say with which."""
    return any(grant.is_by_tag() and not permissions <= free for grant, permissions in held)


class RoleEntry(BaseModel):
    """A custom role as an entry of the bucket."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: Slug
    project: str
    permissions: tuple[str, ...] = ()

    def known(self) -> frozenset[Permission]:
        """Permissions that this version of the platform knows."""
        return known_permissions(self.permissions)


def known_permissions(names: Iterable[str]) -> frozenset[Permission]:
    return frozenset(permission for name in names if (permission := _KNOWN.get(name)))


_KNOWN = {permission.value: permission for permission in Permission}


def built_in(role: str) -> frozenset[Permission] | None:
    """What a built-in role permits; None for the name of another one."""
    return GRANTS[Role(role)] if role in _BUILT_IN else None


_BUILT_IN = frozenset(role.value for role in Role)


def role_entry_name(project: str, role: str) -> str:
    """The name of a custom role's entry in the bucket of credentials."""
    return f"{ROLE}.{_EVERYWHERE_TOKEN if project == EVERYWHERE else project}.{role}"
