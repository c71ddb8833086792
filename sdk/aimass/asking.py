"""Asking a model and waiting for its answer."""

import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aimass import types as t
from aimass.calls import OPENAI, Call, Flow, Request, call
from aimass.later import infer_path
from aimass.methods import method

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Asking:
    """What a client can ask of models: with tensors, with arrays, or with what people have."""

    @method
    def infer(self, model: str, inputs: Sequence[t.Tensor], version: int | None = None) -> Call[dict[str, Any]]:
        """Ask a model by the Open Inference Protocol in JSON."""
        request = Request("POST", infer_path(model, version), json={"inputs": list(inputs)}, safe=True)
        return Call(request, lambda answer: answer.json())

    @method
    def predict(
        self,
        model: str,
        inputs: "Mapping[str, NDArray[Any]]",
        version: int | None = None,
        *,
        outputs: Sequence[str] = (),
    ) -> "Call[dict[str, NDArray[Any]]]":
        """Ask a model with numpy arrays, which travel as binary tensors (needs `aimass[numpy]`)."""
        from aimass import arrays

        body, headers = arrays.encode(inputs, outputs)
        request = Request("POST", infer_path(model, version), content=body, headers=headers, safe=True)
        return Call(request, lambda answer: arrays.decode(answer.content, answer.headers.get(arrays.HEADER_LENGTH)))

    @method
    def ask(
        self, model: str, what: "Sequence[Any] | Path", version: int | None = None, *, top: int | None = None
    ) -> Call[t.Answers]:
        """Ask a model with what you have: a list of values by name, or of plain values for a model of one input; or a
        file, .csv, .txt, .png or .jpg. Labels and scores, values or ranks come back."""
        path = f"predict/{model}" if version is None else f"predict/{model}/versions/{version}"
        if isinstance(what, Path):
            kind = mimetypes.guess_type(what.name)[0] or "application/octet-stream"
            given: dict[str, Any] = {"content": what.read_bytes(), "headers": {"Content-Type": kind}}
        else:
            given = {"json": {"items": list(what)}}
        return call("POST", path, {"top": top}, safe=True, **given)

    @method
    def transcribe(self, model: str, sound: Path) -> Call[str]:
        """What is said in a file of sound, WAV, FLAC, OGG or MP3."""
        files = {"file": (sound.name, sound.read_bytes())}
        path = f"{OPENAI}/audio/transcriptions"
        request = Request("POST", path, files=files, form={"model": model}, safe=True)
        return Call(request, lambda answer: str(answer.json()["text"]))

    @method
    def speak(self, model: str, text: str, target: Path, *, speed: float = 1) -> Flow[Path]:
        """Have a text read aloud into a file, in the form of its suffix: .wav, .flac, .opus, .mp3 or .pcm."""
        order = {"model": model, "input": text, "response_format": target.suffix.removeprefix("."), "speed": speed}
        answer = yield from Request("POST", f"{OPENAI}/audio/speech", json=order, safe=True)
        target.write_bytes(answer.content)
        return target
