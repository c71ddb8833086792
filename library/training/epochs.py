"""Training of any model of the library, by epochs; a resumed run gives the weights of an uninterrupted one.

All random numbers of an epoch, the order of items included, come from (seed, epoch): that is all the state of
random numbers that a checkpoint has to hold, whichever generator a model uses.
"""

import json
import math
import random
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from library import data_set
from library.base import Config, Model
from library.training import checkpoint
from library.training.objectives import as_bytes
from shared.errors import AimassError, InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

SCORING_BATCH = 1024


class Diverged(AimassError):
    """The loss is not a number any more: try a lower learning rate."""

    code = "diverged"
    status = 422


class Training:
    """A training in progress: `epoch` epochs are done, the last with these `metrics`."""

    def __init__(self, model: Model[Any], config: Config, seed: int, train: "Arrays", validation: "Arrays") -> None:
        target = data_set(model.dataset).schema.target.name
        self._model = model
        self._config = config
        self._seed = seed
        train = train if config.epochs or _adapts(model) else {name: column[:1] for name, column in train.items()}
        self._train = (*model.inputs(train), _as_tensor(train[target]))
        self._validation = (*model.inputs(validation), _as_tensor(validation[target]))
        seed_everything(seed, 0)  # after the inputs: a front that reads weights may draw numbers the first time
        self.module = model.build(config)
        model.adapt(self.module, self._train[:-1], self._train[-1])
        self.epoch = 0
        self.metrics: dict[str, float] = {}
        self.step_figures: dict[str, float] = {}

    @cached_property
    def _optimiser(self) -> torch.optim.Optimizer:
        """Not made where nothing is trained: a module may have no weights of its own."""
        return self._model.optimiser(self.module, self._config)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self._train[-1]) / self._config.batch_size)

    def run_epoch(self, on_step: Callable[[], None]) -> None:
        """Train on every item once, then score the validation part."""
        began = time.monotonic()
        loss = self._pass_over_train(on_step)
        self.epoch += 1
        rate = float(self._optimiser.param_groups[0]["lr"])
        self.metrics = {"train_loss": loss, **self._validate(), "learning_rate": rate}
        _require_finite(self.metrics.values())
        self.metrics["seconds"] = time.monotonic() - began

    def validate(self) -> None:
        """Score the validation part by the weights as they are, where nothing is to be trained."""
        self.metrics = self._validate()
        _require_finite(self.metrics.values())

    def save(self, path: Path) -> None:
        progress = {"epoch": str(self.epoch), "metrics": json.dumps(self.metrics)}
        checkpoint.write(path, self.module, self._optimiser, self._identity() | progress)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of this very training."""
        facts = checkpoint.facts_of(path)
        for name, value in self._identity().items():
            if facts.get(name) != value:
                raise InvalidInput(f"the checkpoint is of another training: {name} is {facts.get(name)}, not {value}")
        checkpoint.load(path, self.module, self._optimiser)
        self.epoch, self.metrics = int(facts["epoch"]), json.loads(facts["metrics"])

    def _pass_over_train(self, on_step: Callable[[], None]) -> float:
        seed_everything(self._seed, self.epoch + 1)
        self.module.train()
        total, count = 0.0, len(self._train[-1])
        for step, indices in enumerate(torch.randperm(count).tensor_split(self.steps_per_epoch)):
            total += self._step(step, [column[indices] for column in self._train]) * len(indices)
            on_step()
        return total / count

    def _step(self, step: int, batch: list[Tensor]) -> float:
        done = (self.epoch + step / self.steps_per_epoch) / self._config.epochs
        for group in self._optimiser.param_groups:
            group["lr"] = self._model.learning_rate(self._config, done)
        loss = self._model.loss(self.module(*batch[:-1]), batch[-1])
        value = loss.item()
        _require_finite([value])
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self.step_figures = {"train_loss": value, "learning_rate": self._optimiser.param_groups[0]["lr"]}
        return value

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        self.module.eval()
        *inputs, target = self._validation
        batches = zip(*(torch.split(column, SCORING_BATCH) for column in inputs), strict=True)
        outputs = torch.cat([self.module(*batch) for batch in batches])
        loss = {"loss": self._model.loss(outputs, target).item()} if self._config.epochs else {}
        return {f"validation_{name}": value for name, value in (loss | self._model.metrics(outputs, target)).items()}

    def _identity(self) -> dict[str, str]:
        return {
            "model": self._model.name,
            "code_version": self._model.code_version,
            "config": json.dumps(self._config.model_dump(mode="json"), sort_keys=True),
            "seed": str(self._seed),
        }


def _as_tensor(target: "NDArray[Any]") -> Tensor:
    """Texts become their bytes, with zeros after the end."""
    return as_bytes(target.tolist()) if target.dtype.kind in "SO" else torch.from_numpy(target)


def _adapts(model: Model[Any]) -> bool:
    return type(model).adapt is not Model.adapt


def _require_finite(values: Iterable[float]) -> None:
    if not all(map(math.isfinite, values)):
        raise Diverged()


def seed_everything(seed: int, epoch: int) -> None:
    """Seed every generator that a model may use, differently for each epoch."""
    first, second, third = (int(word) for word in np.random.SeedSequence([seed, epoch]).generate_state(3))
    torch.manual_seed(first)
    np.random.seed(second)
    random.seed(third)
