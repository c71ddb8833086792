"""Handlers of requests that are accepted now and answered later."""

from services.inference.deferred import store
from services.inference.deferred.domain import check_room, is_tight
from services.inference.parts import Parts
from services.inference.webhooks import domain as webhooks
from shared.errors import Conflict, InvalidInput, NotFound
from shared.events.inference import InferenceCancelled
from shared.rpc.base import Done
from shared.rpc.inference import (
    CancelInference,
    CreateWebhook,
    DeferInference,
    DeleteWebhook,
    GetInference,
    GetInferenceAnswer,
    InferenceAnswer,
    InferenceList,
    InferenceView,
    ListInferences,
    ListWebhooks,
    WebhookCreated,
    WebhookList,
)
from shared.work import Work


async def defer_inference(request: DeferInference, work: Work[Parts]) -> InferenceView:
    if not await store.is_deployed(work.tx, work.project, request.model, request.version):
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


async def _check_room(size: int, work: Work[Parts]) -> None:
    """Counting under a lock would let one commit at a time through, so only who is near the bound does."""
    most = work.parts.settings.accepted_max, work.parts.settings.accepted_bytes
    waiting = await store.pending(work.tx, work.project)
    if is_tight(*waiting, *most):
        await store.lock_project(work.tx, work.project)
        waiting = await store.pending(work.tx, work.project)
    check_room(*waiting, size, *most)


async def _check_webhook(request: DeferInference, work: Work[Parts]) -> None:
    if request.webhook is not None and not await store.has_webhook(work.tx, work.project, request.webhook):
        raise InvalidInput(f"X-Webhook: there is no webhook '{request.webhook}'", field="X-Webhook")


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
        work.then(lambda: work.parts.answering.bodies.drop(found.body_name))
    return cancelled.view()


async def create_webhook(request: CreateWebhook, work: Work[Parts]) -> WebhookCreated:
    url = webhooks.check_url(request.url, inside=work.parts.settings.webhook_inside)
    if await store.count_webhooks(work.tx, work.project) >= webhooks.MOST:
        raise Conflict(f"a project has at most {webhooks.MOST} webhooks: delete one first")
    secret = webhooks.new_secret()
    made = await store.insert_webhook(work.tx, work.context, request.name, url, secret)
    return WebhookCreated(**made.model_dump(), secret=secret)


async def list_webhooks(_: ListWebhooks, work: Work[Parts]) -> WebhookList:
    return WebhookList(webhooks=await store.webhooks(work.tx, work.project))


async def delete_webhook(request: DeleteWebhook, work: Work[Parts]) -> Done:
    """What is still to be posted there is abandoned."""
    await store.delete_webhook(work.tx, work.project, request.name)
    return Done()
