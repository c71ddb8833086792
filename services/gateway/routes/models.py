"""Models, their versions and their aliases: asked of registry."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from services.gateway.access import authorise, check_sets_tags
from services.gateway.caller import CallerOf
from services.gateway.routes.declare import AsOfQuery, Routes
from shared.names import ModelName, Slug
from shared.permissions import Permission
from shared.rpc.registry import (
    ArchiveModel,
    ArchiveVersion,
    CompareVersions,
    Comparison,
    DeleteVersion,
    GetModel,
    GetVersion,
    ListModels,
    ListVersions,
    ModelList,
    ModelView,
    SetAlias,
    SetTags,
    Source,
    Tags,
    Text,
    VersionList,
    VersionView,
)

ROUTES = Routes("models")
MOST = 2**31 - 1
Version = Annotated[int, Path(ge=1, le=MOST)]


class AliasTarget(BaseModel):
    """Where an alias is to point, and where the caller believes that it points now.

    With `force` the champion needs no passed evaluation, but a reason.
    """

    model_config = ConfigDict(extra="forbid")
    version: int = Field(ge=1, le=MOST)
    expected: int | None = Field(default=None, ge=1, le=MOST)
    force: StrictBool = False
    reason: Text = ""


class Archival(BaseModel):
    """Whether a model or a version is to be archived: hidden from lists, and never promoted."""

    model_config = ConfigDict(extra="forbid")
    archived: StrictBool


class TagSet(BaseModel):
    """All tags that a model is to have, in any order."""

    model_config = ConfigDict(extra="forbid")
    tags: Tags


@ROUTES.add("GET", "/models", Permission.MODELS_READ)
async def list_models(
    caller: CallerOf,
    q: Text = "",
    task_type: Text = "",
    tag: Slug | None = None,
    archived: bool = False,
    as_of: AsOfQuery = None,
) -> ModelList:
    """The models of the project, by name, or those of a time; `q` is looked for in name, labels and cards."""
    return await caller.ask(ListModels(q=q, task_type=task_type, tag=tag, archived=archived, as_of=as_of))


@ROUTES.add("GET", "/models/{model}", Permission.MODELS_READ)
async def show_model(model: ModelName, caller: CallerOf, as_of: AsOfQuery = None) -> ModelView:
    """One model with its aliases, now or as it was at a time; one of another project that is shared is named
    `<project>.<model>`, here and below `/versions`."""
    caller, model = caller.at(model)
    return await caller.ask(GetModel(model=model, as_of=as_of))


@ROUTES.add("GET", "/models/{model}/versions", Permission.MODELS_READ)
async def list_versions(
    model: ModelName,
    caller: CallerOf,
    q: Text = "",
    dataset: Text = "",
    source: Source | None = None,
    archived: bool = False,
    before: Annotated[int | None, Query(ge=1, le=MOST)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> VersionList:
    """The versions of a model, newest first; `q` is looked for in labels and cards."""
    caller, model = caller.at(model)
    filters = {"q": q, "dataset": dataset, "source": source, "archived": archived}
    return await caller.ask(ListVersions(model=model, before=before, limit=limit, **filters))


@ROUTES.add("GET", "/models/{model}/versions/{version}", Permission.MODELS_READ)
async def show_version(model: ModelName, version: Version, caller: CallerOf) -> VersionView:
    """One version: its artifact, lineage, card and evaluation."""
    caller, model = caller.at(model)
    return await caller.ask(GetVersion(model=model, version=version))


@ROUTES.add("PUT", "/models/{model}/aliases/{alias}", Permission.MODELS_PROMOTE)
async def set_alias(model: Slug, alias: Slug, body: AliasTarget, caller: CallerOf) -> VersionView:
    """Point an alias at a version; `champion` only at one that passed its evaluation, unless forced, which needs the
    permission 'models:force' too."""
    if body.force:
        authorise(caller.principal, Permission.MODELS_FORCE, model, alias)
    return await caller.ask(SetAlias(model=model, alias=alias, **body.model_dump()))


@ROUTES.add("PATCH", "/models/{model}", Permission.MODELS_WRITE)
async def archive_model(model: Slug, body: Archival, caller: CallerOf) -> ModelView:
    """Archive a model, or bring it back; one that serves goes on doing so."""
    return await caller.ask(ArchiveModel(model=model, archived=body.archived))


@ROUTES.add("PUT", "/models/{model}/tags", Permission.MODELS_WRITE)
async def set_tags(model: Slug, body: TagSet, caller: CallerOf) -> ModelView:
    """Let a model have these tags in place of those that it has; every gateway knows it within a second.

    Grants may count for models of some tags alone: who has such a grant cannot set tags.
    """
    check_sets_tags(caller.principal)
    return await caller.ask(SetTags(model=model, tags=body.tags))


@ROUTES.add("PATCH", "/models/{model}/versions/{version}", Permission.MODELS_WRITE)
async def archive_version(model: Slug, version: Version, body: Archival, caller: CallerOf) -> VersionView:
    """Archive a version, or bring it back; not the champion."""
    return await caller.ask(ArchiveVersion(model=model, version=version, archived=body.archived))


@ROUTES.add("DELETE", "/models/{model}/versions/{version}", Permission.MODELS_WRITE, status_code=204)
async def delete_version(model: Slug, version: Version, caller: CallerOf) -> None:
    """Delete a version for ever; not one that is the champion or serves."""
    await caller.ask(DeleteVersion(model=model, version=version))


@ROUTES.add("GET", "/models/{model}/versions/{version}/comparison", Permission.MODELS_READ)
async def compare_versions(
    model: Slug, version: Version, caller: CallerOf, other: Annotated[int, Query(ge=1, le=MOST)]
) -> Comparison:
    """A version beside another one: parameters that differ, metrics side by side."""
    return await caller.ask(CompareVersions(model=model, left=version, right=other))
