"""Domain identity, what people may do and where: said by auth."""

from typing import ClassVar

from shared.events.base import Event, Timestamp


class RoleCreated(Event):
    """A role can be granted, in a project or ('*') everywhere."""

    about: ClassVar[str] = "name"
    audited: ClassVar[bool] = True
    name: str = ""
    scope: str = ""
    permissions: tuple[str, ...] = ()
    actor: str = ""


class RoleChanged(Event):
    """A role permits this from now on, also to who has it."""

    about: ClassVar[str] = "name"
    audited: ClassVar[bool] = True
    name: str = ""
    scope: str = ""
    permissions: tuple[str, ...] = ()
    actor: str = ""


class RoleDeleted(Event):
    """A role that nobody had can be granted no more."""

    about: ClassVar[str] = "name"
    audited: ClassVar[bool] = True
    name: str = ""
    scope: str = ""
    actor: str = ""


class GroupCreated(Event):
    """There is a group of users and service accounts."""

    about: ClassVar[str] = "group_id"
    audited: ClassVar[bool] = True
    group_id: str = ""
    name: str = ""
    actor: str = ""


class GroupDeleted(Event):
    """There is no such group any more, and what was granted to it counts no more."""

    about: ClassVar[str] = "group_id"
    audited: ClassVar[bool] = True
    group_id: str = ""
    name: str = ""
    actor: str = ""


class GroupMemberAdded(Event):
    """A user, or a service account by its id, has what is granted to the group."""

    about: ClassVar[str] = "group_id"
    audited: ClassVar[bool] = True
    group_id: str = ""
    name: str = ""
    user_id: str = ""
    actor: str = ""


class GroupMemberRemoved(Event):
    """A user, or a service account by its id, has no more what is granted to the group."""

    about: ClassVar[str] = "group_id"
    audited: ClassVar[bool] = True
    group_id: str = ""
    name: str = ""
    user_id: str = ""
    actor: str = ""


class GrantAdded(Event):
    """Somebody has a role, in a project or ('*') everywhere, maybe until a time, for some models, aliases or tags."""

    about: ClassVar[str] = "grant_id"
    audited: ClassVar[bool] = True
    grant_id: str = ""
    role: str = ""
    scope: str = ""
    subject_kind: str = ""
    subject_id: str = ""
    ends_at: Timestamp | None = None
    models: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    actor: str = ""
    tags: tuple[str, ...] = ()


class GrantRevoked(Event):
    """A grant counts no more."""

    about: ClassVar[str] = "grant_id"
    audited: ClassVar[bool] = True
    grant_id: str = ""
    role: str = ""
    scope: str = ""
    subject_kind: str = ""
    subject_id: str = ""
    actor: str = ""


class ProjectCreated(Event):
    """There is another project, with its first administrator: a key or a user."""

    about: ClassVar[str] = "name"
    audited: ClassVar[bool] = True
    name: str = ""
    title: str = ""
    key_id: str = ""
    user_id: str = ""
    user: str = ""
    actor: str = ""


class ProjectArchived(Event):
    """Nobody of this project is let in any more; all that it has stays."""

    about: ClassVar[str] = "name"
    audited: ClassVar[bool] = True
    name: str = ""
    actor: str = ""


class ProjectRestored(Event):
    """A project that was archived is open again."""

    about: ClassVar[str] = "name"
    audited: ClassVar[bool] = True
    name: str = ""
    actor: str = ""


class ModelShared(Event):
    """Another project, or everybody (*), may read a model or ask it for predictions."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    share_id: str = ""
    model: str = ""
    shared_to: str = ""
    level: str = ""
    actor: str = ""


class ModelUnshared(Event):
    """A model is not shared with this project any more."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    share_id: str = ""
    model: str = ""
    shared_to: str = ""
    level: str = ""
    actor: str = ""
