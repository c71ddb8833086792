"""Letters of sound in, samples out, for clients of OpenAI's API. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from services.gateway.audio.decoding import Samples
from services.gateway.predict.facts import Facts
from shared.errors import InvalidInput
from shared.tensors import Tensor, from_numpy, to_numpy

PHONEMES, SPEED = "phonemes", "speed"
LONGEST: Final = 300
TAKEN: Final = {PHONEMES: ("BYTES", (-1,)), SPEED: ("FP32", (-1,))}


def order(phonemes: str, speed: float, facts: Facts) -> tuple[Tensor, ...]:
    """The inputs of a model that speaks; raises InvalidInput for any other model."""
    check_speaks(facts)
    letters = np.empty(1, object)
    letters[0] = phonemes.encode()
    return from_numpy(PHONEMES, letters, "BYTES"), from_numpy(SPEED, np.array([speed], "<f4"), "FP32")


def check_speaks(facts: Facts) -> None:
    """Raises InvalidInput where a version does not make samples of letters of sound."""
    takes = {spec.name: (spec.datatype, spec.shape) for spec in facts.signature.inputs}
    outputs = [(spec.datatype, spec.shape) for spec in facts.signature.outputs]
    if takes != TAKEN or outputs != [("FP32", (-1, -1))]:
        message = f"model '{facts.model}' does not speak: it does not turn phonemes and speed into samples alone"
        raise InvalidInput(message, field="model")


def samples_of(outputs: Sequence[Tensor]) -> Samples:
    found: Samples = to_numpy(outputs[0])[0]
    return found


def sayable(sentences: Iterable[str]) -> Iterator[str]:
    """Sentences of at most 300 letters of sound; longer ones are divided after a mark, or between words."""
    for sentence in sentences:
        rest = sentence
        while len(rest) > LONGEST:
            place = max(rest.rfind(", ", 0, LONGEST), rest.rfind("; ", 0, LONGEST)) + 1 or rest.rfind(" ", 0, LONGEST)
            place = place if place > 0 else LONGEST
            yield rest[:place].strip()
            rest = rest[place:].strip()
        yield rest
