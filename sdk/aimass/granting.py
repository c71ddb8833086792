"""Who may do what, and why: roles, groups and grants."""

from collections.abc import Sequence
from typing import Any, TypedDict

from aimass.calls import Call, call, get, nothing
from aimass.methods import method


class Permission(TypedDict):
    """A permission, and what it is for."""

    name: str
    description: str


class Role(TypedDict):
    """A role, built in or made; `project` is '*' for one of the whole platform."""

    name: str
    project: str
    description: str
    permissions: list[str]
    built_in: bool
    created_by: str
    created_at: str | None
    changed_at: str | None


class Group(TypedDict):
    """A group of users and service accounts, by id."""

    id: str
    name: str
    project: str
    members: list[str]
    created_by: str
    created_at: str | None


class Condition(TypedDict, total=False):
    """When a grant counts: for models whose names match, that have such a tag, and for promotions to these aliases."""

    models: list[str]
    aliases: list[str]
    tags: list[str]


class Grant(TypedDict):
    """A role that somebody has; `id` is empty for roles that somebody has of himself."""

    id: str
    role: str
    project: str
    subject_kind: str
    subject_id: str
    subject_name: str
    ends_at: str | None
    condition: Condition | None
    created_by: str
    created_at: str | None


class Source(TypedDict):
    """Where somebody has a permission from, until when and under which condition."""

    permission: str
    role: str
    grant: str | None
    project: str
    until: str | None
    condition: Condition | None


class Verdict(TypedDict):
    """Whether it is allowed, why, and the role or the grant that decided."""

    allowed: bool
    why: str
    role: str | None
    grant: str | None


class Granting:
    """What a client can do with roles, groups and grants."""

    @method
    def permissions(self) -> Call[list[Permission]]:
        """All permissions there are."""
        return get("permissions", take="permissions")

    @method
    def own_permissions(self) -> Call[list[Source]]:
        """What the caller may do, and from which role or grant."""
        return get("me/permissions", take="permissions")

    @method
    def can(
        self, permission: str, *, subject: str | None = None, model: str | None = None, alias: str | None = None
    ) -> Call[Verdict]:
        """Whether the caller, or another user, service account or API key by id, may do this, and why."""
        body = {"permission": permission, "subject": subject, "model": model, "alias": alias}
        return call("POST", "permissions/check", json=body)

    @method
    def roles(self) -> Call[list[Role]]:
        """The built-in roles, those of the platform and those of the project."""
        return get("roles", take="roles")

    @method
    def role(self, name: str) -> Call[Role]:
        """One role."""
        return get(f"roles/{name}")

    @method
    def create_role(
        self, name: str, permissions: Sequence[str], *, description: str = "", platform: bool = False
    ) -> Call[Role]:
        """Make a role of permissions that the caller has."""
        body = {"name": name, "permissions": list(permissions), "description": description, "platform": platform}
        return call("POST", "roles", json=body)

    @method
    def change_role(self, name: str, permissions: Sequence[str], *, description: str = "") -> Call[Role]:
        """Let a role permit this instead; who has it notices within a second."""
        return call("PUT", f"roles/{name}", json={"permissions": list(permissions), "description": description})

    @method
    def delete_role(self, name: str) -> Call[None]:
        """Forget a role that nobody has."""
        return nothing("DELETE", f"roles/{name}")

    @method
    def groups(self) -> Call[list[Group]]:
        """The groups of the project with their members."""
        return get("groups", take="groups")

    @method
    def create_group(self, name: str) -> Call[Group]:
        """Make a group without members."""
        return call("POST", "groups", json={"name": name})

    @method
    def delete_group(self, name: str) -> Call[None]:
        """Forget a group with what was granted to it."""
        return nothing("DELETE", f"groups/{name}")

    @method
    def add_member(self, group: str, user_id: str) -> Call[Group]:
        """Let a user or a service account have what is granted to the group."""
        return call("PUT", f"groups/{group}/members/{user_id}")

    @method
    def remove_member(self, group: str, user_id: str) -> Call[Group]:
        """Let a user or a service account have it no more."""
        return call("DELETE", f"groups/{group}/members/{user_id}")

    @method
    def grants(
        self, *, role: str | None = None, subject_id: str | None = None, implicit: bool = True
    ) -> Call[list[Grant]]:
        """Who has which role, also those that users and keys have of themselves."""
        given: dict[str, Any] = {"role": role, "subject_id": subject_id, "implicit": str(implicit).lower()}
        return get("grants", given, take="grants")

    @method
    def add_grant(
        self,
        role: str,
        subject_kind: str,
        subject_id: str,
        *,
        platform: bool = False,
        ends_at: str | None = None,
        condition: Condition | None = None,
    ) -> Call[Grant]:
        """Grant a role to a user, a group, an account (a service account) or a key, never more than the caller has."""
        whose = {"role": role, "subject_kind": subject_kind, "subject_id": subject_id, "platform": platform}
        return call("POST", "grants", json=whose | {"ends_at": ends_at, "condition": condition})

    @method
    def revoke_grant(self, grant_id: str) -> Call[Grant]:
        """Take a grant back."""
        return call("DELETE", f"grants/{grant_id}")
