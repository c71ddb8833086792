"""Requests about projects and shared models, which auth answers."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from shared.errors import Conflict
from shared.names import Slug
from shared.rpc.auth import UserName
from shared.rpc.base import Done, Reply, Request
from shared.sharing import Level

SERVICE = "auth"
Title = Annotated[str, StringConstraints(max_length=100, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]*$")]
SharedTo = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z0-9_-]{1,64})$")]


class ProjectView(Reply):
    """A project; nobody of an archived one is let in."""

    name: str
    title: str = ""
    created_by: str = ""
    created_at: datetime | None = None
    archived_at: datetime | None = None


class ProjectMade(ProjectView):
    """A new project and its first administrator: a key, or a user with a password; each is shown this once."""

    key_id: str = ""
    secret: str = Field(default="", repr=False)
    user_id: str = ""
    user: str = ""
    password: str = Field(default="", repr=False)


class ProjectList(Reply):
    """Projects by name."""

    projects: list[ProjectView] = []


class CreateProject(Request[ProjectMade]):
    """Make a project whose first administrator is an API key, or a new user where one is named."""

    awaits_publication: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    not_kept: ClassVar[frozenset[str]] = frozenset({"secret", "password"})
    name: Slug
    title: Title = ""
    user: UserName | None = None

    @classmethod
    def repeated(cls, kept: dict[str, Any]) -> ProjectMade:
        """Raises Conflict: an answer without the secret would be of no use."""
        message = f"this Idempotency-Key made the project {kept['name']!r}, whose secret was shown once"
        raise Conflict(message, field="Idempotency-Key")


class ListProjects(Request[ProjectList]):
    """Show the projects: all to the platform's people, their own to others."""


class GetProject(Request[ProjectView]):
    """Show a project."""

    name: Slug


class ChangeProject(Request[ProjectView]):
    """Give a project another title; archive it, which lets nobody in, or restore it."""

    awaits_publication: ClassVar[bool] = True
    name: Slug
    title: Title | None = None
    archived: bool | None = None


class ShareView(Reply):
    """A model that a project, or everybody (`*`), may read or ask for predictions."""

    id: str
    model: str
    shared_to: str
    level: Level
    created_by: str = ""
    created_at: datetime | None = None


class ShareList(Reply):
    """To whom a model is shared."""

    shares: list[ShareView] = []


class ListShares(Request[ShareList]):
    """Show to whom a model of the project is shared."""

    model: Slug


class ShareModel(Request[ShareView]):
    """Share a model of the project; one that is shared there already is so at this level from now on."""

    awaits_publication: ClassVar[bool] = True
    model: Slug
    shared_to: SharedTo
    level: Level = "infer"


class UnshareModel(Request[Done]):
    """End a share, on every gateway."""

    awaits_publication: ClassVar[bool] = True
    model: Slug
    share_id: str
