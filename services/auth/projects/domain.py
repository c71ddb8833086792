"""Projects: who may see and change which, and who may enter; shares of models; pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from services.auth.users import User
from shared.errors import Conflict, Forbidden, InvalidInput, NotFound
from shared.grants import HeldGrant
from shared.names import DEFAULT_PROJECT
from shared.rpc.projects import ChangeProject, ProjectView, ShareView
from shared.sharing import EVERYBODY, Level, SharedModel


@dataclass(frozen=True)
class Project:
    """A project as it is stored."""

    name: str
    title: str
    created_by: str
    created_at: datetime
    archived_at: datetime | None = None

    def view(self) -> ProjectView:
        return ProjectView(**vars(self))


@dataclass(frozen=True)
class Share:
    """A share of a model of a project, as it is stored."""

    id: str
    project: str
    model: str
    shared_to: str
    level: Level
    created_by: str
    created_at: datetime

    def view(self) -> ShareView:
        return ShareView(**{name: value for name, value in vars(self).items() if name != "project"})


def may_enter(user: User, project: str, grants: Iterable[HeldGrant], now: datetime) -> bool:
    """Whether a user may begin a session in this project: the one that he is of, or one where a grant counts."""
    return project == user.project or any(grant.counts_in(project) and grant.counts_at(now) for grant in grants)


def check_visible(name: str, of: str) -> None:
    """Raises NotFound for another project than one's own, but for people of the platform's project."""
    if of not in (DEFAULT_PROJECT, name):
        raise NotFound(f"there is no project {name!r}", field="name")


def changed(project: Project, asked: ChangeProject, of: str, now: datetime) -> Project:
    """The project with what is asked for; one that is archived already keeps the time."""
    titled = project if asked.title is None else replace(project, title=asked.title)
    if asked.archived is None:
        return titled
    if of != DEFAULT_PROJECT:
        raise Forbidden(f"only people of the project '{DEFAULT_PROJECT}' archive projects and restore them")
    if project.name == DEFAULT_PROJECT:
        raise Conflict(f"the project '{DEFAULT_PROJECT}' is the platform's own: it cannot be archived", field="name")
    return replace(titled, archived_at=(project.archived_at or now) if asked.archived else None)


def check_shareable(shared_to: str, of: str) -> None:
    """Raises InvalidInput for a share with oneself."""
    if shared_to == of:
        raise InvalidInput("shared_to: the model is of this project already", field="shared_to")


def shared(shares: Iterable[Share]) -> SharedModel:
    """All shares of one model together."""
    given = list(shares)
    levels = {level: frozenset(each.shared_to for each in given if each.level == level) for level in ("read", "infer")}
    return SharedModel(**levels)


def is_everybody(shared_to: str) -> bool:
    return shared_to == EVERYBODY
