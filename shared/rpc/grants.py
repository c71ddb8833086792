"""Requests about roles, groups and grants, which auth answers."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field, StrictBool

from shared.grants import Condition, SubjectKind
from shared.moments import Moment
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc.base import Done, Reply, Request

SERVICE = "auth"
MOST_GRANTS = 100
Description = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
SomePermissions = Annotated[list[Permission], Field(min_length=1, max_length=len(Permission))]
SubjectId = Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")]


class RoleView(Reply):
    """A role, built in or made; `project` is '*' for one of the whole platform."""

    name: str
    project: str
    description: str = ""
    permissions: list[str]
    built_in: bool = False
    created_by: str = ""
    created_at: datetime | None = None
    changed_at: datetime | None = None


class RoleList(Reply):
    """The built-in roles, those of the platform and those of the project."""

    roles: list[RoleView] = []


class ListRoles(Request[RoleList]):
    """Show the roles that can be granted in the project."""


class GetRole(Request[RoleView]):
    """Show one role."""

    name: Slug


class CreateRole(Request[RoleView]):
    """Make a role for the project, or with `platform` for all projects."""

    awaits_publication: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    name: Slug
    permissions: SomePermissions
    description: Description = ""
    platform: StrictBool = False


class ChangeRole(Request[RoleView]):
    """Let a role permit this from now on; who has it notices at once."""

    awaits_publication: ClassVar[bool] = True
    name: Slug
    permissions: SomePermissions
    description: Description = ""


class DeleteRole(Request[Done]):
    """Forget a role that nobody has."""

    awaits_publication: ClassVar[bool] = True
    name: Slug


class GroupView(Reply):
    """A group of users and service accounts of a project; members by id."""

    id: str
    name: str
    project: str
    members: list[str] = []
    created_by: str = ""
    created_at: datetime | None = None


class GroupList(Reply):
    """The groups of a project, by name."""

    groups: list[GroupView] = []


class ListGroups(Request[GroupList]):
    """Show the groups of the project."""


class CreateGroup(Request[GroupView]):
    """Make a group without members."""

    idempotent: ClassVar[bool] = True
    name: Slug


class DeleteGroup(Request[Done]):
    """Forget a group with what was granted to it."""

    awaits_publication: ClassVar[bool] = True
    name: Slug


class AddMember(Request[GroupView]):
    """Let a user or a service account have what is granted to the group."""

    awaits_publication: ClassVar[bool] = True
    name: Slug
    user_id: SubjectId


class RemoveMember(Request[GroupView]):
    """Let a user or a service account have no more what is granted to the group."""

    awaits_publication: ClassVar[bool] = True
    name: Slug
    user_id: SubjectId


class GrantView(Reply):
    """A role that somebody has beside others; `id` is empty for roles that somebody has of himself."""

    id: str = ""
    role: str
    project: str
    subject_kind: SubjectKind
    subject_id: str
    subject_name: str = ""
    ends_at: datetime | None = None
    condition: Condition | None = None
    created_by: str = ""
    created_at: datetime | None = None


class GrantList(Reply):
    """Grants, newest first; then the roles that users and keys have of themselves, where they were asked for."""

    grants: list[GrantView] = []


class ListGrants(Request[GrantList]):
    """Show the grants of the project, maybe of one role or one holder, and with the roles that are no grants."""

    role: Slug | None = None
    subject_id: SubjectId | None = None
    implicit: bool = True


class AddGrant(Request[GrantView]):
    """Grant a role in the project, or with `platform` in all; nobody grants more than he has."""

    awaits_publication: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    role: Slug
    subject_kind: SubjectKind
    subject_id: SubjectId
    platform: StrictBool = False
    ends_at: Moment | None = None
    condition: Condition | None = None


class RevokeGrant(Request[GrantView]):
    """Take a grant back, on every gateway."""

    awaits_publication: ClassVar[bool] = True
    grant_id: str


class SubjectEntry(Reply):
    """The name of somebody's entry in the bucket; empty for who is disabled or revoked."""

    name: str
    project: str


class FindSubject(Request[SubjectEntry]):
    """Where the gateways keep a user, a service account or an API key of the project."""

    subject_id: SubjectId
