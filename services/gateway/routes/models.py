"""Models, their versions and their aliases: asked of registry."""

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc.registry import (
    GetModel,
    GetVersion,
    ListModels,
    ListVersions,
    ModelList,
    ModelView,
    SetAlias,
    VersionList,
    VersionView,
)

ROUTES = Routes("models")
MOST = 2**31 - 1
Version = Annotated[int, Path(ge=1, le=MOST)]


class AliasTarget(BaseModel):
    """Where an alias is to point, and where the caller believes that it points now."""

    model_config = ConfigDict(extra="forbid")
    version: int = Field(ge=1, le=MOST)
    expected: int | None = Field(default=None, ge=1, le=MOST)


@ROUTES.add("GET", "/models", Permission.MODELS_READ)
async def list_models(caller: CallerOf) -> ModelList:
    """The models of the project, by name."""
    return await caller.ask(ListModels())


@ROUTES.add("GET", "/models/{model}", Permission.MODELS_READ)
async def show_model(model: Slug, caller: CallerOf) -> ModelView:
    """One model with its aliases."""
    return await caller.ask(GetModel(model=model))


@ROUTES.add("GET", "/models/{model}/versions", Permission.MODELS_READ)
async def list_versions(model: Slug, caller: CallerOf) -> VersionList:
    """The versions of a model, newest first."""
    return await caller.ask(ListVersions(model=model))


@ROUTES.add("GET", "/models/{model}/versions/{version}", Permission.MODELS_READ)
async def show_version(model: Slug, version: Version, caller: CallerOf) -> VersionView:
    """One version: its artifact, lineage, card and evaluation."""
    return await caller.ask(GetVersion(model=model, version=version))


@ROUTES.add("PUT", "/models/{model}/aliases/{alias}", Permission.MODELS_PROMOTE)
async def set_alias(model: Slug, alias: Slug, body: AliasTarget, caller: CallerOf) -> VersionView:
    """Point an alias at a version; `champion` only at one that passed its evaluation."""
    return await caller.ask(SetAlias(model=model, alias=alias, version=body.version, expected=body.expected))
