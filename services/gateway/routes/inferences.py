"""Requests that were accepted with `Prefer: respond-async`: how they are, and their answers."""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Path, Query, Response

from services.gateway.caller import CallerOf
from services.gateway.open_inference.answers import answer_of, packed
from services.gateway.routes.declare import Routes
from shared import frames
from shared.names import ModelName
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
    model: ModelName | None = None,
    state: InferenceState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> InferenceList:
    """Deferred requests of the project, newest first, as long as they are kept."""
    return await caller.ask(ListInferences(model=model, state=state, limit=limit))


@ROUTES.add("GET", "/inferences/{inference_id}", Permission.INFER)
async def show_inference(inference_id: Id, caller: CallerOf, response: Response) -> InferenceView:
    """How a deferred request is: queued, running, done, failed or cancelled."""
    found = await caller.ask(GetInference(id=inference_id))
    if found.state in ("queued", "running"):
        response.headers["Retry-After"] = "1"
    return found


@ROUTES.add("GET", "/inferences/{inference_id}/result", Permission.INFER, response_class=Response)
async def fetch_result(
    inference_id: Id, caller: CallerOf, accept_encoding: Annotated[str, Header(include_in_schema=False)] = ""
) -> Response:
    """The answer, with the status, headers and body that a caller who waits would have got; 409 before there is one."""
    found = await caller.ask(GetInferenceAnswer(id=inference_id))
    body = await caller.edges.deferred.fetch(found.name)
    prediction_id = UUID(inference_id).bytes
    facts = (found.version, found.header_length, found.retry_after)
    answer = answer_of(frames.Reply(prediction_id, found.status, body, *facts))
    answer = await packed(answer, accept_encoding.encode("latin-1"))
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, headers | {"x-prediction-id": inference_id})


@ROUTES.add("DELETE", "/inferences/{inference_id}", Permission.INFER)
async def cancel_inference(inference_id: Id, caller: CallerOf) -> InferenceView:
    """Give up a request that has no answer yet."""
    return await caller.ask(CancelInference(id=inference_id))
