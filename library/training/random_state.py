"""The random numbers of a training: seeded by (seed, epoch), and kept in the middle of an epoch."""

import json
import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CUDA = "cuda."


def seed_everything(seed: int, *place: int) -> None:
    """Seed every generator that a model may use, differently for each place, such as an epoch."""
    first, second, third = (int(word) for word in np.random.SeedSequence([seed, *place]).generate_state(3))
    torch.manual_seed(first)
    np.random.seed(second)
    random.seed(third)


@dataclass(frozen=True)
class Generators:
    """Where every generator stands: tensors, and the rest as JSON."""

    tensors: dict[str, Tensor]
    rest: str

    @classmethod
    def now(cls) -> "Generators":
        kind, words, place, has_gauss, gauss = np.random.get_state()
        version, numbers, next_gauss = random.getstate()
        tensors = {
            "torch": torch.get_rng_state(),
            "numpy": torch.from_numpy(np.array(words, dtype=np.int64)),
            "python": torch.tensor(numbers, dtype=torch.int64),
        }
        if torch.cuda.is_available():
            tensors |= {f"{CUDA}{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
        return cls(tensors, json.dumps({"numpy": [kind, place, has_gauss, gauss], "python": [version, next_gauss]}))

    def restore(self) -> None:
        rest = json.loads(self.rest)
        torch.set_rng_state(self.tensors["torch"])
        kind, *numbers = rest["numpy"]
        np.random.set_state((kind, self.tensors["numpy"].numpy().astype(np.uint32), *numbers))
        version, next_gauss = rest["python"]
        random.setstate((version, tuple(self.tensors["python"].tolist()), next_gauss))
        for name, state in self.tensors.items():
            if name.startswith(CUDA) and torch.cuda.is_available():
                torch.cuda.set_rng_state(state, int(name.removeprefix(CUDA)))
