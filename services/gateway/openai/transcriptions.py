"""Sound in, text out, as clients of OpenAI's API send and read it. Pure."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from services.gateway.audio.pieces import Piece
from services.gateway.predict.facts import Facts
from shared.errors import InvalidInput
from shared.tensors import Tensor, from_numpy, to_numpy

Form = Literal["json", "text", "verbose_json"]


class Segment(NamedTuple):
    """What was said from one second to another."""

    start: float
    end: float
    text: str


def sound(piece: Piece, facts: Facts) -> tuple[Tensor, ...]:
    """The only input of a model that hears; raises InvalidInput for any other model."""
    check_hears(facts)
    return (from_numpy(facts.inputs[0].name, piece.samples[None], "FP32"),)


def check_hears(facts: Facts) -> None:
    """Raises InvalidInput where a version does not make text of samples alone."""
    inputs, outputs = facts.signature.inputs, facts.signature.outputs
    is_sound = len(inputs) == 1 and (inputs[0].datatype, inputs[0].shape) == ("FP32", (-1, -1))
    is_text = len(outputs) == 1 and outputs[0].datatype == "BYTES" and outputs[0].shape in ((-1,), (-1, 1))
    if not (is_sound and is_text):
        message = f"model '{facts.model}' makes no transcriptions: it does not turn samples into text alone"
        raise InvalidInput(message, field="model")


def text_of(outputs: Sequence[Tensor]) -> str:
    found: bytes = to_numpy(outputs[0]).ravel()[0]
    return found.decode("utf-8", "replace").strip()


def transcription(segments: Sequence[Segment], seconds: float, language: str) -> dict[str, Any]:
    """All that is known: the text, how long the sound is, and what was said when."""
    return {
        "task": "transcribe",
        "language": language,
        "duration": round(seconds, 3),
        "text": whole(segments),
        "segments": [{"id": number, **_segment(each)} for number, each in enumerate(segments)],
        "usage": _usage(seconds),
    }


def brief(segments: Sequence[Segment], seconds: float) -> dict[str, Any]:
    return {"text": whole(segments), "usage": _usage(seconds)}


def whole(segments: Sequence[Segment]) -> str:
    return " ".join(each.text for each in segments if each.text)


def _usage(seconds: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": -int(-seconds // 1)}


def _segment(each: Segment) -> dict[str, Any]:
    """Clients' readers want all of these; what is not measured is 0."""
    unknown = {"seek": 0, "tokens": [], "temperature": 0.0, "avg_logprob": 0.0}
    times = {"start": round(each.start, 3), "end": round(each.end, 3)}
    return times | {"text": each.text} | unknown | {"compression_ratio": 0.0, "no_speech_prob": 0.0}
