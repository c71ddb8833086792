"""The request for cause and effect."""

from typing import Any

from services.monitor.tracing import store
from services.monitor.tracing.domain import THINGS, Known, thing_of, trace_of, version_of, versions_in
from shared.errors import NotFound
from shared.handlers import RpcHandler
from shared.rpc.base import Request
from shared.rpc.monitor import GetTrace, TimelineEntry, Trace, TraceNode
from shared.work import Work


async def get_trace(request: GetTrace, work: Work[Any]) -> Trace:
    prediction = await store.prediction(work.tx, work.project, request.of)
    chains = await _chains(request.of, prediction, work)
    events = await store.events(work.tx, work.project, chains, request.limit + 1)
    if not events:
        raise NotFound(f"nothing is known of {request.of!r}; events are kept for a while only", field="of")
    known = Known(events[: request.limit], prediction=prediction)
    known.tasks = await store.tasks(work.tx, work.project, _things(known.events))
    versions = versions_in(known.events)
    for model in sorted({model for model, _ in versions}):
        served = await store.served(work.tx, work.project, model)
        known.served += [found for found in served if (model, found.version) in versions]
    asked = version_of(request.of)
    return trace_of(f"{asked[0]}/{asked[1]}" if asked else request.of, known, len(events) > request.limit)


async def _chains(name: str, prediction: TraceNode | None, work: Work[Any]) -> list[str]:
    if prediction:
        facts = prediction.facts
        return await store.chains_of_version(work.tx, work.project, facts["model"], facts["version"])
    version = version_of(name)
    if version and (found := await store.chains_of_version(work.tx, work.project, *version)):
        return found
    if thing_of(name):
        return await store.chains_of_thing(work.tx, work.project, name)
    return await store.chains_of_id(work.tx, work.project, name)


def _things(events: list[TimelineEntry]) -> list[str]:
    parts = (event.subject.partition("/") for event in events)
    return sorted({name for domain, _, name in parts if domain in THINGS})


TRACE_RPC: dict[type[Request[Any]], RpcHandler] = {GetTrace: get_trace}
