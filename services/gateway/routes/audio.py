"""Speech in the style of OpenAI's API: files of sound become text, and text becomes sound."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import File, Form, Request, Response, UploadFile
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Scope

from services.gateway.audio import decoding
from services.gateway.audio.decoding import Samples, decode
from services.gateway.audio.encoding import MEDIA_TYPES, Encoder, Format
from services.gateway.audio.pieces import pieces
from services.gateway.caller import Caller, CallerOf
from services.gateway.open_inference.routes import TIMEOUT
from services.gateway.openai import speech, transcriptions
from services.gateway.openai.transcriptions import Segment, sound, text_of
from services.gateway.predict.predictor import Predicted, Translation
from services.gateway.routes.declare import NAMES_MODEL, Routes
from shared.errors import InvalidInput, NotFound
from shared.names import is_model_name
from shared.permissions import Permission
from shared.sound import HEARING_RATE

ROUTES = Routes("openai", prefix="/v1")
TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
FRAME: Final = 64 * 1024
PATIENCE_MS: Final = "60000"
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
SOUND: dict[str, Any] = {
    "responses": {"200": {"description": "The sound", "content": dict.fromkeys(MEDIA_TYPES.values(), BINARY)}}
}


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


class SpeechOrder(BaseModel):
    """A text to say; what else clients send is let be, and so is `voice`: a model has its own."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)
    model: str
    input: str = Field(min_length=1, max_length=4096)
    voice: Any = None
    response_format: Format = "mp3"
    speed: float = Field(default=1, ge=0.25, le=4)
    stream_format: Literal["audio"] = "audio"


@ROUTES.add("POST", "/audio/speech", Permission.INFER, {**SOUND, **NAMES_MODEL}, response_class=Response)
async def create_speech(order: SpeechOrder, request: Request, caller: CallerOf) -> Response:
    """A text read aloud in English by a model that speaks; it comes sentence by sentence, as they are made."""
    check_name(order.model)
    found = [*speech.sayable(await caller.edges.phonemes.sentences(order.input))]
    if not found:
        raise InvalidInput("input: there is nothing in it that can be said", field="input")
    encoder = Encoder(order.response_format, is_whole=len(found) == 1)
    first = await _say(caller, request, order, found[0], None)
    start = await asyncio.to_thread(encoder.add, speech.samples_of(first.outputs), is_last=len(found) == 1)

    async def rest() -> AsyncIterator[bytes]:
        yield start
        for number, sentence in enumerate(found[1:], 2):
            predicted = await _say(caller, request, order, sentence, first.version)
            samples = speech.samples_of(predicted.outputs)
            yield await asyncio.to_thread(encoder.add, samples, is_last=number == len(found))

    headers = {"x-request-id": first.prediction_id}
    return StreamingResponse(rest(), headers=headers, media_type=MEDIA_TYPES[order.response_format])


async def _say(caller: Caller, request: Request, order: SpeechOrder, sentence: str, version: int | None) -> Predicted:
    translation = Translation(partial(speech.order, sentence, order.speed))
    predictor = caller.edges.predictor
    predicted, facts = await predictor.predict(caller, _patient(request), order.model, version, translation)
    speech.check_speaks(facts)
    return predicted


def check_name(model: str) -> None:
    if not is_model_name(model):
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
        predicted, facts = await predictor.predict(caller, _patient(request), model, version, translation)
        transcriptions.check_hears(facts)
        version, prediction_id = predicted.version, predicted.prediction_id
        found.append(Segment(piece.start, piece.end, text_of(predicted.outputs)))
    if version is None:
        there, name = caller.at(model, "infer")
        transcriptions.check_hears(await predictor.versions.find(there, name))
    return found, prediction_id


def _patient(request: Request) -> dict[str, str]:
    """Sound takes longer than what else is asked; who names a deadline gets his own."""
    return {TIMEOUT.decode(): PATIENCE_MS, **request.headers}


def body_limit(scope: Scope, others: int) -> int:
    """Files of sound, and the form around them, are larger than what else comes."""
    return decoding.BYTES + FRAME if scope["path"] == TRANSCRIPTIONS else others
