"""Projects, and the models that they share: asked of auth."""

from typing import Annotated

from fastapi import Path, Response
from pydantic import BaseModel, ConfigDict, StrictBool

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc import projects as rpc
from shared.rpc.registry import GetModel
from shared.sharing import Level

ROUTES = Routes("projects")
ShareId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]


class ProjectChange(BaseModel):
    """What is named changes."""

    model_config = ConfigDict(extra="forbid")
    title: rpc.Title | None = None
    archived: StrictBool | None = None


class NewShare(BaseModel):
    """With which project, or with everybody (`*`), and whether for predictions (`infer`) or to look at (`read`)."""

    model_config = ConfigDict(extra="forbid")
    shared_to: rpc.SharedTo
    level: Level = "infer"


@ROUTES.add("GET", "/projects", Permission.PROJECTS_MANAGE)
async def list_projects(caller: CallerOf) -> rpc.ProjectList:
    """All projects to people of the project `default`, their own to others."""
    return await caller.ask(rpc.ListProjects(), service=rpc.SERVICE)


@ROUTES.add("POST", "/projects", Permission.PROJECTS_MANAGE, platform=True, status_code=201)
async def create_project(
    body: rpc.CreateProject, caller: CallerOf, response: Response, idempotency_key: IdempotencyKey = ""
) -> rpc.ProjectMade:
    """Make a project; the secret of its first administrator, an API key or a new `user`, is in this answer alone."""
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(body, service=rpc.SERVICE, idempotency_key=idempotency_key)


@ROUTES.add("GET", "/projects/{name}", Permission.PROJECTS_MANAGE)
async def show_project(name: Slug, caller: CallerOf) -> rpc.ProjectView:
    """One project."""
    return await caller.ask(rpc.GetProject(name=name), service=rpc.SERVICE)


@ROUTES.add("PATCH", "/projects/{name}", Permission.PROJECTS_MANAGE)
async def change_project(name: Slug, body: ProjectChange, caller: CallerOf) -> rpc.ProjectView:
    """Give a project another title; archive it, which ends its keys and sessions until it is restored."""
    return await caller.ask(rpc.ChangeProject(name=name, **body.model_dump()), service=rpc.SERVICE)


@ROUTES.add("GET", "/models/{model}/shares", Permission.MODELS_SHARE)
async def list_shares(model: Slug, caller: CallerOf) -> rpc.ShareList:
    """With whom a model is shared."""
    await caller.ask(GetModel(model=model))
    return await caller.ask(rpc.ListShares(model=model), service=rpc.SERVICE)


@ROUTES.add("POST", "/models/{model}/shares", Permission.MODELS_SHARE, status_code=201)
async def share_model(model: Slug, body: NewShare, caller: CallerOf) -> rpc.ShareView:
    """Share a model with another project, whose people then name it `<project>.<model>`."""
    await caller.ask(GetModel(model=model))
    return await caller.ask(rpc.ShareModel(model=model, **body.model_dump()), service=rpc.SERVICE)


@ROUTES.add("DELETE", "/models/{model}/shares/{share_id}", Permission.MODELS_SHARE, status_code=204)
async def unshare_model(model: Slug, share_id: ShareId, caller: CallerOf) -> None:
    """Share a model no more."""
    await caller.ask(rpc.UnshareModel(model=model, share_id=share_id), service=rpc.SERVICE)
