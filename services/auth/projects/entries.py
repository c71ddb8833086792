"""Entries of the bucket that every gateway reads: archived projects and shared models."""

from typing import Any

from services.auth.projects import domain, store
from services.auth.projects.domain import Project
from shared.credentials import KV_DELETE, credential_subject
from shared.sharing import archived_name, share_name
from shared.work import Work


def put_project(work: Work[Any], project: Project) -> None:
    """Only archived ones have an entry."""
    body, headers = (b"{}", {}) if project.archived_at else (b"", KV_DELETE)
    work.send(f"project/{project.name}", credential_subject(archived_name(project.name)), body, headers)


async def put_shares(work: Work[Any], project: str, model: str) -> None:
    """All shares of a model as they are in this transaction; none for a model that is not shared."""
    found = await store.shares(work.tx, project, model)
    body, headers = (domain.shared(found).model_dump_json().encode(), {}) if found else (b"", KV_DELETE)
    work.send(f"share/{project}/{model}", credential_subject(share_name(project, model)), body, headers)


async def put_back(work: Work[Any], names: list[str]) -> None:
    """Those of these entries that are ours."""
    for project in await store.lock_archived(work.tx, names):
        put_project(work, project)
    for owner, model in await store.shared_models(work.tx, names):
        await store.lock_shares(work.tx, owner)
        await put_shares(work, owner, model)
