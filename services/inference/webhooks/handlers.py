"""What people ask of webhooks."""

from services.inference.parts import Parts
from services.inference.webhooks import domain, store
from shared.errors import Conflict
from shared.rpc.base import Done
from shared.rpc.inference import CreateWebhook, DeleteWebhook, ListWebhooks, WebhookCreated, WebhookList
from shared.work import Work


async def create_webhook(request: CreateWebhook, work: Work[Parts]) -> WebhookCreated:
    url = domain.check_url(request.url, inside=work.parts.settings.webhook_inside)
    if await store.count(work.tx, work.project) >= domain.MOST_WEBHOOKS:
        raise Conflict(f"a project has at most {domain.MOST_WEBHOOKS} webhooks: delete one first")
    secret = domain.new_secret()
    sealed = work.parts.seal_keys.sealer().seal(secret.encode(), domain.purpose(work.project, request.name))
    made = await store.insert(work.tx, work.context, request.name, url, sealed)
    return WebhookCreated(**made.model_dump(), secret=secret)


async def list_webhooks(_: ListWebhooks, work: Work[Parts]) -> WebhookList:
    return WebhookList(webhooks=await store.views(work.tx, work.project))


async def delete_webhook(request: DeleteWebhook, work: Work[Parts]) -> Done:
    """What is still to be posted there is abandoned."""
    await store.delete(work.tx, work.project, request.name)
    return Done()
