"""tts-distilled: reads English aloud; a small network that learns from what tts-voice says."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import NOT_TUNED, Card, Condition, Config, Gate, Model, TaskType
from library.data.tts_taught import TtsTaught
from library.members.tts_voice import VOICE, TtsVoice, letters

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors

LENGTHS_COUNT = 0.3
TAUGHT = ("lengths", "sound")


class TtsDistilledConfig(Config):
    """What the trainer is told."""

    epochs: int = Field(default=14, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=16, ge=4, le=64, json_schema_extra={"x-scale": "log"})
    channels: int = Field(default=192, ge=32, le=512)
    layers: int = Field(default=5, ge=2, le=12)
    dropout: float = Field(default=0.1, ge=0, le=0.5)


class TtsDistilled(Model[TtsDistilledConfig]):
    """Lengths and frames of each sound at once, by convolutions; a vocoder without weights makes them samples."""

    name = "tts-distilled"
    task_type = TaskType.SPEECH
    dataset = TtsTaught.name
    code_version = "1.0.0"
    weights = (VOICE,)
    long = True
    signature = TtsVoice.signature
    gate = Gate(conditions=(Condition(metric="word_error_rate", operator="<=", threshold=0.25),))
    baseline = TtsVoice.baseline
    card = Card(
        title="English read aloud, by a small voice that another has taught",
        intended_use="To see how a voice is distilled, and to hear short English texts with little work: a second "
        "of sound takes 4 ms of one core, its teacher 42. POST /v1/audio/speech takes plain text, as with tts-voice.",
        data="What tts-voice says, without its noise, to 1,337 newspaper sentences; 40 of other articles validate. "
        "Tested on 50 sentences of the Universal Declaration of Human Rights by what asr-tiny hears.",
        licence="Code: as the platform. Its teacher: voice CC0, package MIT; lessac, which that voice began with, has "
        "terms of its own. Sentences: MIT, of the package vaderSentiment; cite the paper.",
        limits="American English, one voice, 22,050 Hz. Word error rate 0.036 (0.020 to 0.055), 799 words, its teacher "
        "0.044; on newspapers' rarer words, which validate, 0.113 (0.063 to 0.169). A recogniser's errors count as the "
        "voice's. Nobody was asked how it sounds: evener than its teacher, since it learns means.",
    )
    config = TtsDistilledConfig

    def example(self) -> "Arrays":
        return TtsVoice().example()

    def front(self) -> "onnx.ModelProto":
        from library.graphs.front import OPSET
        from library.graphs.vits import front

        return front(letters(), OPSET, step=1)

    def inputs(self, items: "Arrays") -> "Tensors":
        """Those of the voice, and of items that were said what its teacher made of them."""
        from library.networks.layers import aligned

        return (*super().inputs(items), *(aligned(items[name]) for name in TAUGHT if name in items))

    def build(self, config: TtsDistilledConfig) -> "nn.Module":
        from library.networks.speaker import Speaker

        return Speaker(config.channels, config.dropout, config.layers)

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        from library.networks.speaker import Speaker, measure

        assert isinstance(module, Speaker)
        measure(module, *inputs[3:])

    def loss(self, outputs: "Tensor", target: "Tensor") -> "Tensor":
        of_sound, of_lengths = outputs.mean(dim=0).unbind()
        return of_sound + LENGTHS_COUNT * of_lengths

    def metrics(self, outputs: "Tensor", target: "Tensor") -> dict[str, float]:
        """By how much frames differ from the teacher's, in deviations, and logarithms of lengths, squared."""
        of_sound, of_lengths = outputs.mean(dim=0).tolist()
        return {"sound_error": of_sound, "length_error": of_lengths}

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        return TtsVoice().baseline_outputs(train, test)
