"""Optimised versions of models: asked of trainer."""

from fastapi import Response
from pydantic import BaseModel, ConfigDict, StrictBool

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.models import Version
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import Slug
from shared.optimisation import Optimisation
from shared.permissions import Permission
from shared.rpc.trainer import SubmitOptimisation, TaskAccepted

ROUTES = Routes("models")


class NewOptimisation(BaseModel):
    """How another version is to be made of one; without `auto_promote` it waits for a person."""

    model_config = ConfigDict(extra="forbid")
    how: Optimisation
    auto_promote: StrictBool = False


@ROUTES.add("POST", "/models/{model}/versions/{version}/optimisations", Permission.TASKS_WRITE, status_code=202)
async def optimise_version(
    model: Slug,
    version: Version,
    body: NewOptimisation,
    caller: CallerOf,
    response: Response,
    idempotency_key: IdempotencyKey = "",
) -> TaskAccepted:
    """Make the next version of a model of one of its versions: quantised to int8, fused or pruned.

    It names the version that it was `derived_from`, is evaluated like any other, and is never champion without that.
    """
    order = SubmitOptimisation(model=model, version=version, how=body.how, auto_promote=body.auto_promote)
    accepted = await caller.ask(order, idempotency_key=idempotency_key)
    response.headers["Location"] = f"{PREFIX}/tasks/{accepted.id}"
    return accepted
