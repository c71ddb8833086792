"""Requests that were accepted with `Prefer: respond-async`: how they are, and their answers."""

from typing import Annotated

from fastapi import Path, Query, Response

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from shared.names import Slug
from shared.oip import HEADER_LENGTH
from shared.permissions import Permission
from shared.rpc.inference import (
    CancelInference,
    GetInference,
    GetInferenceAnswer,
    InferenceId,
    InferenceList,
    InferenceState,
    InferenceView,
    ListInferences,
)

ROUTES = Routes("inferences")
Id = Annotated[InferenceId, Path(description="the id in the answer to the request")]


@ROUTES.add("GET", "/inferences", Permission.INFER)
async def list_inferences(
    caller: CallerOf,
    model: Slug | None = None,
    state: InferenceState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> InferenceList:
    """Accepted requests of the project, newest first, as long as they are kept."""
    return await caller.ask(ListInferences(model=model, state=state, limit=limit))


@ROUTES.add("GET", "/inferences/{inference_id}", Permission.INFER)
async def show_inference(inference_id: Id, caller: CallerOf, response: Response) -> InferenceView:
    """How an accepted request is: queued, running, done, failed or cancelled."""
    found = await caller.ask(GetInference(id=inference_id))
    if found.state in ("queued", "running"):
        response.headers["Retry-After"] = "1"
    return found


@ROUTES.add("GET", "/inferences/{inference_id}/result", Permission.INFER, response_class=Response)
async def fetch_result(inference_id: Id, caller: CallerOf) -> Response:
    """The answer, with the status, headers and body that a caller who waits would have got; 409 before there is one."""
    found = await caller.ask(GetInferenceAnswer(id=inference_id))
    body = await caller.edges.deferred.fetch(found.name)
    headers = {"X-Prediction-Id": inference_id}
    if found.header_length is not None:
        headers[HEADER_LENGTH] = str(found.header_length)
    if found.retry_after is not None:
        headers["Retry-After"] = str(found.retry_after)
    kind = "application/json" if found.header_length is None else "application/octet-stream"
    return Response(body, found.status, headers, kind)


@ROUTES.add("DELETE", "/inferences/{inference_id}", Permission.INFER)
async def cancel_inference(inference_id: Id, caller: CallerOf) -> InferenceView:
    """Give up a request that has no answer yet."""
    return await caller.ask(CancelInference(id=inference_id))
