"""What people ask of deferred requests: to be accepted, shown and given up, and for their answers."""

from services.inference.deferred import domain, store
from services.inference.parts import Parts
from services.inference.webhooks import store as webhooks
from shared.errors import Conflict, InvalidInput, NotFound
from shared.events.inference import InferenceCancelled
from shared.rpc.inference import (
    CancelInference,
    DeferInference,
    GetInference,
    GetInferenceAnswer,
    InferenceAnswer,
    InferenceList,
    InferenceView,
    ListInferences,
)
from shared.sharing import owned
from shared.work import Work


async def defer_inference(request: DeferInference, work: Work[Parts]) -> InferenceView:
    if not await store.is_deployed(work.tx, *owned(work.project, request.model), request.version):
        raise NotFound(_not_deployed(request), field="model")
    await _check_webhook(request, work)
    await _check_room(request.size, work)
    made = await store.insert(work.tx, request, work.context)
    work.then(work.parts.answering.wake)
    return made.view()


def _not_deployed(request: DeferInference) -> str:
    if request.version is not None:
        return f"version {request.version} of model '{request.model}' is not deployed"
    return f"no version of model '{request.model}' is deployed and promoted: name one, or promote one"


async def _check_webhook(request: DeferInference, work: Work[Parts]) -> None:
    if request.webhook is not None and not await webhooks.exists(work.tx, work.project, request.webhook):
        raise InvalidInput(f"X-Webhook: there is no webhook '{request.webhook}'", field="X-Webhook")


async def _check_room(size: int, work: Work[Parts]) -> None:
    """Counting under a lock would let one commit at a time through, so only who is near the bound does."""
    most = work.parts.settings.deferred_max, work.parts.settings.deferred_bytes
    pending = await store.pending(work.tx, work.project)
    if domain.is_tight(*pending, *most):
        await store.lock_project(work.tx, work.project)
        pending = await store.pending(work.tx, work.project)
    domain.check_room(*pending, size, *most)


async def get_inference(request: GetInference, work: Work[Parts]) -> InferenceView:
    return (await store.find(work.tx, work.project, request.id)).view()


async def list_inferences(request: ListInferences, work: Work[Parts]) -> InferenceList:
    found = await store.recent(work.tx, work.project, request.model, request.state, request.limit)
    return InferenceList(inferences=[one.view() for one in found])


async def get_inference_answer(request: GetInferenceAnswer, work: Work[Parts]) -> InferenceAnswer:
    found = await store.find(work.tx, work.project, request.id)
    if found.status is None:
        raise Conflict(f"inference {found.id} is {found.state}: it has no answer", retry_after=found.retry_seconds)
    return InferenceAnswer(
        name=found.answer_name,
        status=found.status,
        version=found.reply_version or "",
        header_length=found.reply_header_length,
        retry_after=found.retry_after,
    )


async def cancel_inference(request: CancelInference, work: Work[Parts]) -> InferenceView:
    """What a node computes of it meanwhile is dropped."""
    found = await store.find(work.tx, work.project, request.id, lock=True)
    cancelled = await store.cancel(work.tx, found)
    if cancelled is not found:
        about = {"inference_id": found.id, "model": found.model}
        work.say(InferenceCancelled(**about, actor=work.context.actor))
        work.then(lambda: work.parts.deferred_bodies.drop(found.body_name))
    return cancelled.view()
