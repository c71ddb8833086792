"""How an evaluation comes to be: once for a version and the champion beside it, in the transaction that asks for it."""

from typing import Any

from services.evaluator import store
from services.evaluator.domain import Version
from shared.errors import Unavailable
from shared.events.evaluation import EvaluationRequested
from shared.tasks.run import accept
from shared.work import Work

KIND = "evaluate"


async def evaluate(work: Work[Any], version: Version) -> None:
    """Accept an evaluation beside the present champion, unless there was one or the version is champion itself."""
    champion = (await store.champion(work.tx, version.project, version.model)).version
    if version.version == champion or await store.evaluated(work.tx, version, champion):
        return
    against = None if champion is None else await known_version(work, version.model, champion)
    spec = {"version": version.version, "champion": champion}
    task = await accept(work, KIND, version.model, {"parameters": spec})
    await store.insert(work.tx, task.id, version, against)
    facts = {"model": version.model, "version": version.version, "digest": version.digest}
    work.say(EvaluationRequested(evaluation_id=task.id, **facts))


async def known_version(work: Work[Any], model: str, number: int) -> Version:
    """Our copy of a version, locked; raises Unavailable while the event that tells of it has not come."""
    version = await store.find_version(work.tx, work.project, model, number)
    if version is None:
        raise Unavailable(f"version {number} of '{model}' is not known here yet")
    return version
