"""Looks at what projects have used, and says so before a quota bites and when it does."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from services.monitor.quotas import store as quota_store
from services.monitor.quotas.domain import Judged, Known, Now, judge, refuses_files, refuses_predictions, to_say
from services.monitor.usage import store
from services.monitor.usage.domain import month_days
from shared import observe
from shared.context import Context
from shared.credentials import KV_DELETE, credential_subject
from shared.db import Connection, Database
from shared.errors import AimassError
from shared.outbox import Relay
from shared.quotas import ProjectState, quota_name
from shared.work import Work


async def judged_quotas(tx: Connection, project: str, known: list[Known]) -> list[Judged]:
    """How the quotas of a project stand now."""
    if not known:
        return []
    today = datetime.now(UTC).date()
    uses = await store.day_uses(tx, project, *month_days(f"{today:%Y-%m}"))
    now = Now(await quota_store.open_tasks(tx, project), await store.stored(tx, project))
    return [judge(each, uses, now, today) for each in known]


async def look(work: Work[Any], project: str, *, again: bool = False) -> list[Judged]:
    """Judge, say what is news, and tell the gateways what they refuse; `again` also where that is no news."""
    await quota_store.lock(work.tx, project)
    known = await quota_store.quotas(work.tx, project)
    judged = await judged_quotas(work.tx, project, known)
    changed = [(old, new) for old, new in zip(known, judged, strict=True) if _kept(old) != _kept(new)]
    for old, new in changed:
        if event := to_say(old, new):
            work.say(event)
    await quota_store.keep(work.tx, project, [new for _, new in changed])
    if again or any(old.refused != new.refused or new.refused is not None for old, new in changed):
        publish(work, project, ProjectState(used_up=refuses_predictions(judged), storage=refuses_files(judged)))
    return judged


def _kept(quota: Known | Judged) -> tuple[int, str, int | None]:
    return quota.level, quota.period, quota.refused


def publish(work: Work[Any], project: str, state: ProjectState) -> None:
    """The entry of a project in the memory of all gateways."""
    name = quota_name(project)
    refuses = state != ProjectState()
    body = state.model_dump_json().encode() if refuses else b""
    work.send(f"quota/{project}", credential_subject(name), body, {} if refuses else KV_DELETE)


class QuotaWatch:
    """Looks in a loop; several processes may, one at a time at each project."""

    def __init__(self, database: Database, relay: Relay, seconds: float) -> None:
        self._database, self._relay, self._seconds = database, relay, seconds
        self._again = True

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._seconds)

    async def look(self) -> None:
        """The first look of a process tells all, in case that the bus has lost what was told."""
        async with self._database.connection() as connection:
            projects = await quota_store.projects(connection)
        for project in projects:
            try:
                async with self._relay.work(Context(project=project, actor="monitor")) as work:
                    await look(work, project, again=self._again)
            except AimassError as error:
                observe.log().warning("quotas wait", project=project, error=error.message)
        self._again = False
