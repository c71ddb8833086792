"""Tags of models, and their entries in the memory of all gateways, which decide grants by tag from these."""

from typing import Any

from services.registry import store
from services.registry.parts import Work
from shared.context import Context
from shared.credentials import KV_DELETE, credential_subject
from shared.events.models import ModelTagged
from shared.outbox import Relay
from shared.rpc.registry import ModelView, SetTags
from shared.sharing import TaggedModel, tags_name
from shared.work import Work as AnyWork


async def set_tags(request: SetTags, work: Work) -> ModelView:
    await store.lock_model(work.tx, work.project, request.model)
    tags = sorted(set(request.tags))
    if await store.set_tags(work.tx, work.project, request.model, tags):
        publish(work, work.project, request.model, tags)
        work.say(ModelTagged(model=request.model, tags=tuple(tags), actor=work.context.actor))
    return await store.get_model(work.tx, work.project, request.model)


def publish(work: AnyWork[Any], project: str, model: str, tags: list[str]) -> None:
    """A model without tags has no entry."""
    name = tags_name(project, model)
    body = TaggedModel(tags=frozenset(tags)).model_dump_json().encode() if tags else b""
    work.send(f"tags/{project}/{model}", credential_subject(name), body, {} if tags else KV_DELETE)


class Tagging:
    """Tells all tags when a process starts, in case that the bus has lost what was told."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    async def run(self) -> None:
        async with self._relay.work(Context(actor="registry")) as work:
            for project, model, tags in await store.tagged(work.tx):
                publish(work, project, model, tags)
