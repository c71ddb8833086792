"""The same training as people write it by hand: what every other loop is compared with.

Run as a program it says what it took; other loops take it over with something to do after each epoch.
"""

import hashlib
import json
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import library
from library.files import unpack
from library.training.random_state import seed_everything

GIVEN = "BENCH_TRAINING"
CHUNK = 1024
OnEpoch = Callable[[int, dict[str, float], nn.Module, torch.optim.Optimizer], None]


@dataclass(frozen=True)
class Given:
    """What is trained: a member, for so many epochs, on the parts that lie in a folder."""

    member: str
    epochs: int
    folder: str
    seed: int = 5

    @classmethod
    def from_environment(cls) -> "Given":
        return cls(**json.loads(os.environ[GIVEN]))


class Bare:
    """A module and its data, ready for the first step."""

    def __init__(self, given: Given) -> None:
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(
            True
        )  # as ours does: here it is the faster way, which is not to count for us
        self.given, self.model = given, library.model(given.member)
        self.config = self.model.validate({"epochs": given.epochs})
        self.train, self.validation = (self._columns(Path(given.folder) / f"{part}.npz") for part in PARTS)
        seed_everything(given.seed, 0)
        self.module = self.model.build(self.config)
        self.model.adapt(self.module, self.train[:-1], self.train[-1])

    def run(self, on_epoch: OnEpoch) -> dict[str, float]:
        """The metrics of the last epoch."""
        optimiser = self.model.optimiser(self.module, self.config)
        metrics: dict[str, float] = {}
        for epoch in range(self.config.epochs):
            metrics = {"train_loss": self._epoch(epoch, optimiser), **self._score()}
            on_epoch(epoch + 1, metrics, self.module, optimiser)
        return metrics

    def _epoch(self, epoch: int, optimiser: torch.optim.Optimizer) -> float:
        seed_everything(self.given.seed, epoch + 1)
        self.module.train()
        total, count = 0.0, len(self.train[-1])
        steps = -(-count // self.config.batch_size)
        for step, places in enumerate(torch.randperm(count).tensor_split(steps)):
            for group in optimiser.param_groups:
                group["lr"] = self.model.learning_rate(self.config, (epoch + step / steps) / self.config.epochs)
            total += self._step(places, optimiser) * len(places)
        return total / count

    def _step(self, places: Tensor, optimiser: torch.optim.Optimizer) -> float:
        """A function of its own: else a step's graph lives on into the next one, which costs much."""
        *inputs, target = (column[places] for column in self.train)
        optimiser.zero_grad()
        loss = self.model.loss(self.module(*inputs), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss.item()

    @torch.no_grad()
    def _score(self) -> dict[str, float]:
        self.module.eval()
        *inputs, target = self.validation
        batches = zip(*(torch.split(column, CHUNK) for column in inputs), strict=True)
        outputs = torch.cat([self.module(*batch) for batch in batches])
        return {"validation_loss": self.model.loss(outputs, target).item(), **self.model.metrics(outputs, target)}

    def _columns(self, path: Path) -> tuple[Tensor, ...]:
        items = unpack(path)
        target = library.data_set(self.model.dataset).schema.target.name
        return (*self.model.inputs(items), torch.from_numpy(items[target]))


PARTS = ("train", "validation")


def processor_seconds() -> float:
    """Of all threads of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def told(seconds: float, module: nn.Module) -> dict[str, Any]:
    """What the loop took, and a digest of the weights that came out."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return {"loop": seconds, "weights": digest.hexdigest()}


def measured(on_epoch: OnEpoch) -> dict[str, Any]:
    """Run the bare loop, with something to do after each epoch."""
    bare = Bare(Given.from_environment())
    began = processor_seconds()
    bare.run(on_epoch)
    return told(processor_seconds() - began, bare.module)


if __name__ == "__main__":
    json.dump(measured(lambda *_: None), sys.stdout)
