"""What asr-tiny hears: speech of a voice is as good as the words that come through."""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
import torch

from library.members.asr_tiny import AsrTiny
from library.training.objectives import as_texts
from shared.sound import HEARING_RATE, SPEAKING_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn


def heard(audio: "NDArray[Any]") -> list[str]:
    """The text of each row of samples [items, n], at the rate that voices speak; of silence none."""
    with torch.no_grad():
        return [as_texts(_ear()(_samples(row)))[0] if row.any() else "" for row in audio]


def _samples(row: "NDArray[Any]") -> torch.Tensor:
    found = soxr.resample(np.trim_zeros(row.astype("f4"), "b"), SPEAKING_RATE, HEARING_RATE)
    return torch.from_numpy(found[None])


@cache
def _ear() -> "nn.Module":
    model = AsrTiny()
    model.fetch(lambda _: None)
    return model.build(model.validate({})).eval()
