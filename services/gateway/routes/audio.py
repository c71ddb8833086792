"""Speech in the style of OpenAI's API: files of sound become text."""

import asyncio
from functools import partial
from typing import Annotated, Any, Final

from fastapi import File, Form, Request, Response, UploadFile
from fastapi.responses import PlainTextResponse
from starlette.types import Scope

from services.gateway.audio import decoding
from services.gateway.audio.decoding import Samples, decode
from services.gateway.audio.pieces import pieces
from services.gateway.caller import Caller, CallerOf
from services.gateway.openai import transcriptions
from services.gateway.openai.transcriptions import Segment, sound, text_of
from services.gateway.predict.predictor import Translation
from services.gateway.routes.declare import Routes
from shared.errors import InvalidInput, NotFound
from shared.names import is_slug
from shared.permissions import Permission
from shared.sound import HEARING_RATE

ROUTES = Routes("openai", prefix="/v1")
TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
FRAME: Final = 64 * 1024


@ROUTES.add("POST", "/audio/transcriptions", Permission.INFER, response_model=None)
async def create_transcription(
    request: Request,
    response: Response,
    caller: CallerOf,
    file: Annotated[UploadFile, File(description="WAV, FLAC, OGG or MP3, at most 25 MB and 600 s")],
    model: Annotated[str, Form()],
    response_format: Annotated[transcriptions.Form, Form()] = "json",
    language: Annotated[str, Form(max_length=40)] = "",
    stream: Annotated[bool, Form()] = False,
) -> dict[str, Any] | Response:
    """What is said in a file of sound, by a model that hears; long sound is divided where it is quiet. What else
    clients send is let be."""
    if stream:
        raise InvalidInput("stream: a transcription comes whole; leave it out", field="stream")
    check_name(model)
    samples = await _decoded(caller, await file.read())
    segments, prediction_id = await _listen(caller, request, model, samples)
    seconds = len(samples) / HEARING_RATE
    if response_format == "text":
        return PlainTextResponse(transcriptions.whole(segments), headers={"x-request-id": prediction_id})
    response.headers["x-request-id"] = prediction_id
    if response_format == "json":
        return transcriptions.brief(segments, seconds)
    return transcriptions.transcription(segments, seconds, language or "unknown")


def check_name(model: str) -> None:
    if not is_slug(model):
        raise NotFound(f"there is no model '{model[:64]}'", field="model")


async def _decoded(caller: Caller, content: bytes) -> Samples:
    """Beside the loop, a few files at a time."""
    async with caller.edges.predictor.beside:
        return await asyncio.to_thread(decode, content, HEARING_RATE)


async def _listen(caller: Caller, request: Request, model: str, samples: Samples) -> tuple[list[Segment], str]:
    """What is said piece by piece, all by the same version; and what the log calls the last prediction."""
    predictor, version, prediction_id = caller.edges.predictor, None, ""
    found: list[Segment] = []
    for piece in pieces(samples, HEARING_RATE):
        translation = Translation(partial(sound, piece))
        predicted, facts = await predictor.predict(caller, request.headers, model, version, translation)
        transcriptions.check_hears(facts)
        version, prediction_id = predicted.version, predicted.prediction_id
        found.append(Segment(piece.start, piece.end, text_of(predicted.outputs)))
    if version is None:
        transcriptions.check_hears(await predictor.versions.find(caller, model))
    return found, prediction_id


def body_limit(scope: Scope, others: int) -> int:
    """Files of sound, and the form around them, are larger than what else comes."""
    return decoding.BYTES + FRAME if scope["path"] == TRANSCRIPTIONS else others
