"""Webhooks: where answers to deferred requests may be posted to."""

from fastapi import Response
from pydantic import BaseModel, ConfigDict

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc.inference import CreateWebhook, DeleteWebhook, ListWebhooks, WebhookCreated, WebhookList, WebhookUrl

ROUTES = Routes("inferences")


class NewWebhook(BaseModel):
    """A place that answers are posted to, and the name by which requests mean it."""

    model_config = ConfigDict(extra="forbid")
    name: Slug
    url: WebhookUrl


@ROUTES.add("POST", "/webhooks", Permission.INFER, status_code=201)
async def create_webhook(body: NewWebhook, caller: CallerOf, idempotency_key: IdempotencyKey = "") -> WebhookCreated:
    """Make a webhook; the secret that signs what it gets (Standard Webhooks) is in this answer and nowhere else."""
    return await caller.ask(CreateWebhook(name=body.name, url=body.url), idempotency_key=idempotency_key)


@ROUTES.add("GET", "/webhooks", Permission.INFER)
async def list_webhooks(caller: CallerOf) -> WebhookList:
    """The webhooks of the project by name, without their secrets."""
    return await caller.ask(ListWebhooks())


@ROUTES.add("DELETE", "/webhooks/{name}", Permission.INFER, status_code=204, response_class=Response)
async def delete_webhook(name: Slug, caller: CallerOf) -> None:
    """Post nothing there any more."""
    await caller.ask(DeleteWebhook(name=name))
