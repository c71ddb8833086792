"""A voice as a teacher: what it says without noise, and how long each sound is, read out of its graph."""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from library.graphs.front import through
from library.graphs.vits import HOP, LENGTHS, voice
from library.networks.speech_frames import MOST, frames_of

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

STILL: Final = 0.0


class Said(NamedTuple):
    """One text, said: frames of each sound [letters + 2], and what they are like [frames, 82]."""

    lengths: "NDArray[np.uint8]"
    sound: "NDArray[np.uint8]"


class Teacher:
    """Says one text after another on one thread, so that each sounds the same whatever it stands beside."""

    def __init__(self, content: bytes, front: "onnx.ModelProto") -> None:
        graph = voice(content, STILL, STILL)
        graph.graph.output.append(helper.make_tensor_value_info(LENGTHS, TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=providers)
        self._front = front

    def say(self, phonemes: bytes) -> Said:
        """Letters of sound, said at the voice's own speed."""
        asked = {"phonemes": np.array([phonemes], object), "speed": np.ones(1, "<f4")}
        samples, lengths = self._session.run(["audio", LENGTHS], through(self._front, asked))
        of_sounds = _with_blanks(lengths.ravel().astype("<i8"))
        return Said(of_sounds.clip(0, MOST).astype("u1"), frames_of(samples[0, : of_sounds.sum() * HOP]))


def _with_blanks(lengths: "NDArray[Any]") -> "NDArray[Any]":
    """The beginning, each letter, and the end, each with the blank after it."""
    found: NDArray[Any] = np.pad(lengths, (0, len(lengths) % 2)).reshape(-1, 2).sum(axis=1)
    return found
