"""The requests about projects and shared models: load, decide, save, say; every gateway learns of it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from services.auth import domain as keys
from services.auth import entries as credentials
from services.auth import store as people
from services.auth import users
from services.auth.extensions import store as extensions
from services.auth.extensions.office import Office
from services.auth.passwords import Passwords
from services.auth.projects import domain, entries, store
from services.auth.projects.domain import Project, Share
from shared.errors import InvalidInput
from shared.events.rights import ModelShared, ModelUnshared, ProjectArchived, ProjectCreated, ProjectRestored
from shared.handlers import RpcHandler
from shared.keys import new_secret
from shared.names import DEFAULT_PROJECT, new_id
from shared.permissions import Role
from shared.rpc import projects as rpc
from shared.rpc.base import Done, Request
from shared.streams import CHANGED_SUBJECT
from shared.work import Work as AnyWork


class TellsGateways(Protocol):
    """Parts that projects are handled with."""

    @property
    def broadcast(self) -> Callable[[str, bytes], Awaitable[None]]: ...

    @property
    def office(self) -> Office | None: ...

    @property
    def passwords(self) -> Passwords: ...


Work = AnyWork[TellsGateways]


def _tell(work: Work) -> None:
    """Let the gateways look at once."""
    work.then(lambda: work.parts.broadcast(CHANGED_SUBJECT, b""))


async def create_project(request: rpc.CreateProject, work: Work) -> rpc.ProjectMade:
    now, by = datetime.now(UTC), work.context.actor
    project = Project(request.name, request.title, by, now)
    await store.insert(work.tx, project)
    admin = await (_first_user(request, work, now) if request.user else _first_key(request, work, now))
    made = rpc.ProjectMade(**project.view().model_dump(), **admin)
    about = made.model_dump(include={"name", "title", "key_id", "user_id", "user"})
    work.say(ProjectCreated(**about, actor=by))
    _tell(work)
    return made


async def _first_key(request: rpc.CreateProject, work: Work, now: datetime) -> dict[str, str]:
    secret, by = new_secret(), work.context.actor
    key = keys.draft(secret, project=request.name, name="first admin key", roles=[Role.ADMIN], created_by=by, now=now)
    await people.insert(work.tx, key)
    await credentials.put_api_key(work, key)
    return {"key_id": key.id, "secret": secret}


async def _first_user(request: rpc.CreateProject, work: Work, now: datetime) -> dict[str, str]:
    assert request.user is not None
    password = users.make_password()
    hashed = await work.parts.passwords.hash(password)
    user = users.draft(request.user, [Role.ADMIN], hashed, project=request.name, by=work.context.actor, now=now)
    await people.insert_user(work.tx, user)
    await credentials.put_user(work, user)
    return {"user_id": user.id, "user": user.name, "password": password}


async def list_projects(_: rpc.ListProjects, work: Work) -> rpc.ProjectList:
    own = None if work.project == DEFAULT_PROJECT else work.project
    return rpc.ProjectList(projects=[project.view() for project in await store.listed(work.tx, own)])


async def get_project(request: rpc.GetProject, work: Work) -> rpc.ProjectView:
    domain.check_visible(request.name, work.project)
    return (await store.lock(work.tx, request.name)).view()


async def change_project(request: rpc.ChangeProject, work: Work) -> rpc.ProjectView:
    domain.check_visible(request.name, work.project)
    before = await store.lock(work.tx, request.name)
    after = domain.changed(before, request, work.project, datetime.now(UTC))
    await store.save(work.tx, after)
    if bool(before.archived_at) != bool(after.archived_at):
        event = ProjectArchived if after.archived_at else ProjectRestored
        work.say(event(name=after.name, actor=work.context.actor))
        entries.put_project(work, after)
        _tell(work)
        await _put_out_extensions(work, after)
    return after.view()


async def _put_out_extensions(work: Work, project: Project) -> None:
    """The door lets none of an archived project in; those that are there go, or else at the office's next look."""
    if project.archived_at is None or work.parts.office is None:
        return
    for extension in await extensions.listed(work.tx, project.name):
        work.then(partial(work.parts.office.bouncer.put_out, extension.user))


async def list_shares(request: rpc.ListShares, work: Work) -> rpc.ShareList:
    return rpc.ShareList(shares=[each.view() for each in await store.shares(work.tx, work.project, request.model)])


async def share_model(request: rpc.ShareModel, work: Work) -> rpc.ShareView:
    domain.check_shareable(request.shared_to, work.project)
    if not domain.is_everybody(request.shared_to) and not await store.is_open(work.tx, request.shared_to):
        raise InvalidInput(f"shared_to: there is no project {request.shared_to!r} to share with", field="shared_to")
    await store.lock_shares(work.tx, work.project)
    drafted = (new_id(), work.project, request.model, request.shared_to, request.level)
    share = await store.share(work.tx, Share(*drafted, work.context.actor, datetime.now(UTC)))
    await entries.put_shares(work, share.project, share.model)
    work.say(ModelShared(**_said(share, work)))
    _tell(work)
    return share.view()


async def unshare_model(request: rpc.UnshareModel, work: Work) -> Done:
    await store.lock_shares(work.tx, work.project)
    share = await store.unshare(work.tx, work.project, request.model, request.share_id)
    await entries.put_shares(work, share.project, share.model)
    work.say(ModelUnshared(**_said(share, work)))
    _tell(work)
    return Done()


def _said(share: Share, work: Work) -> dict[str, Any]:
    about = {"share_id": share.id, "model": share.model, "shared_to": share.shared_to}
    return about | {"level": share.level, "actor": work.context.actor}


PROJECT_RPC: dict[type[Request[Any]], RpcHandler] = {
    rpc.CreateProject: create_project,
    rpc.ListProjects: list_projects,
    rpc.GetProject: get_project,
    rpc.ChangeProject: change_project,
    rpc.ListShares: list_shares,
    rpc.ShareModel: share_model,
    rpc.UnshareModel: unshare_model,
}
