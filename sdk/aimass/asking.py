"""Asking a model and waiting for its answer."""

import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aimass import types as t
from aimass.connection import OPENAI, Connection
from aimass.later import infer_path

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Asking:
    """What a client can ask of models: with tensors, with arrays, or with what people have."""

    _connection: Connection

    def infer(self, model: str, inputs: Sequence[t.Tensor], version: int | None = None) -> dict[str, Any]:
        """Ask a model by the Open Inference Protocol in JSON."""
        body = {"inputs": list(inputs)}
        answer: dict[str, Any] = self._connection.send("POST", infer_path(model, version), json=body).json()
        return answer

    def predict(
        self,
        model: str,
        inputs: "Mapping[str, NDArray[Any]]",
        version: int | None = None,
        *,
        outputs: Sequence[str] = (),
    ) -> "dict[str, NDArray[Any]]":
        """Ask a model with numpy arrays, which travel as binary tensors (needs `aimass[numpy]`)."""
        from aimass import arrays

        body, headers = arrays.encode(inputs, outputs)
        answer = self._connection.send("POST", infer_path(model, version), content=body, headers=headers)
        return arrays.decode(answer.content, answer.headers.get(arrays.HEADER_LENGTH))

    def ask(
        self, model: str, what: "Sequence[Any] | Path", version: int | None = None, *, top: int | None = None
    ) -> t.Answers:
        """Ask a model with what you have: a list of values by name, or of plain values for a model of one input; or a
        file, .csv, .txt, .png or .jpg. Labels and scores, values or ranks come back."""
        path = f"predict/{model}" if version is None else f"predict/{model}/versions/{version}"
        params = {} if top is None else {"top": top}
        if isinstance(what, Path):
            kind = mimetypes.guess_type(what.name)[0] or "application/octet-stream"
            given: dict[str, Any] = {"content": what.read_bytes(), "headers": {"Content-Type": kind}}
        else:
            given = {"json": {"items": list(what)}}
        answers: t.Answers = self._connection.call("POST", path, params=params, **given)
        return answers

    def transcribe(self, model: str, sound: Path) -> str:
        """What is said in a file of sound, WAV, FLAC, OGG or MP3."""
        with sound.open("rb") as content:
            form: dict[str, Any] = {"files": {"file": (sound.name, content)}, "data": {"model": model}}
            answer = self._connection.send("POST", f"{OPENAI}/audio/transcriptions", **form)
        text: str = answer.json()["text"]
        return text

    def speak(self, model: str, text: str, target: Path, *, speed: float = 1) -> Path:
        """Have a text read aloud into a file, in the form of its suffix: .wav, .flac, .opus, .mp3 or .pcm."""
        order = {"model": model, "input": text, "response_format": target.suffix.removeprefix("."), "speed": speed}
        target.write_bytes(self._connection.send("POST", f"{OPENAI}/audio/speech", json=order).content)
        return target
