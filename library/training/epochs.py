"""Training of any model of the library, by epochs; a resumed run gives the weights of an uninterrupted one.

All random numbers of an epoch, the order of items included, come from (seed, epoch), whichever generator a model uses;
a checkpoint in the middle of an epoch holds where the generators stand then. A step may take several batches.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from library import data_set
from library.base import Config, Model
from library.training import checkpoint
from library.training.best import Watch
from library.training.facts import Position
from library.training.guard import Guard
from library.training.objectives import as_bytes
from library.training.place import Place
from library.training.random_state import Generators, seed_everything
from library.training.validation import Validation
from shared.errors import InvalidInput
from shared.training import TrainingOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

DEFAULTS = TrainingOptions()


class Training:
    """A training in progress: `epoch` epochs are done, the last with these `metrics`, and `step` steps of the next.

    `step_figures` are those of the last step. After an epoch `is_best` says whether none was better, and `insights`
    holds the look at its answers where it was wanted.
    """

    def __init__(
        self,
        model: Model[Any],
        config: Config,
        seed: int,
        train: "Arrays",
        validation: "Arrays",
        options: TrainingOptions = DEFAULTS,
        place: Place | None = None,
    ) -> None:
        target = data_set(model.dataset).schema.target.name
        self._model, self._config, self._seed, self._options = model, config, seed, options
        train = train if config.epochs or _adapts(model) else {name: column[:1] for name, column in train.items()}
        inputs, answers = model.inputs(train), _as_tensor(train[target])
        questions, truths = model.inputs(validation), _as_tensor(validation[target])
        seed_everything(seed, 0)  # after the inputs: a front that reads weights may draw numbers the first time
        self.module = model.build(config)
        model.adapt(self.module, inputs, answers)
        self._place = place or Place(options)
        self._validation = Validation(model, questions, truths, self._place)
        self.module.to(self._place.device)
        self._train = tuple(column.to(self._place.device) for column in (*inputs, answers))
        self._guard, self.watch = Guard(), Watch(model.gate, options)
        self.epoch = self.step = 0
        self.metrics: dict[str, float] = {}
        self.step_figures: dict[str, float] = {}
        self.is_best = False
        self.insights: dict[str, Any] | None = None
        self._loss_sum = self._seconds = 0.0
        self._generators: Generators | None = None
        self._best: dict[str, Tensor] | None = None

    @cached_property
    def _optimiser(self) -> torch.optim.Optimizer:
        """Not made where nothing is trained: a module may have no weights of its own."""
        return self._model.optimiser(self.module, self._config)

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self._train[-1]) / self._config.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.batches_per_epoch / self._options.accumulate)

    @property
    def steps_done(self) -> int:
        """Of all epochs."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.step)

    @property
    def is_over(self) -> bool:
        """All epochs are done, or none of the last ones got better."""
        return self.epoch >= self._config.epochs or self.watch.is_over

    def run_epoch(self, on_step: Callable[[], None]) -> None:
        """Train on every item once, or on those that are left of the epoch, then score the validation part."""
        began = time.monotonic() - self._seconds
        loss = self._pass_over_train(began, on_step)
        self.epoch, self.step, self._loss_sum, self._seconds = self.epoch + 1, 0, 0.0, 0.0
        self._judge(loss)
        self.metrics["seconds"] = time.monotonic() - began

    def validate(self) -> None:
        """Score the validation part by the weights as they are, where nothing is to be trained."""
        outputs = self._validation.outputs(self.module)
        self.metrics = self._validation.metrics(outputs, with_loss=False)
        self.insights = self._validation.insights(outputs)
        self._guard.check_all(self.metrics, self.epoch)

    def save(self, path: Path) -> None:
        """Write a checkpoint, of the end of an epoch or, from within `on_step`, of its middle."""
        progress = {"epoch": str(self.epoch), "step": str(self.step), "metrics": json.dumps(self.metrics)}
        within = {"loss_sum": repr(self._loss_sum), "seconds": repr(self._seconds), "watch": self.watch.state()}
        if self._place.scaler is not None:
            within["scaler"] = json.dumps(self._place.scaler.state_dict())
        generators = Generators.now() if self.step else None  # an epoch that begins seeds them anew
        checkpoint.write(path, self.module, self._optimiser, self._identity() | progress | within, generators)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of this very training."""
        facts = checkpoint.facts_of(path)
        for name, value in self._identity().items():
            if facts.get(name) != value:
                raise InvalidInput(f"the checkpoint is of another training: {name} is {facts.get(name)}, not {value}")
        self._generators = checkpoint.load(path, self.module, self._optimiser)
        self.epoch, self.metrics = int(facts["epoch"]), json.loads(facts["metrics"])
        self.step = int(facts.get("step", "0"))
        self._loss_sum, self._seconds = float(facts.get("loss_sum", "0")), float(facts.get("seconds", "0"))
        self.watch.restore(facts.get("watch", "[]"))
        if self._place.scaler is not None and "scaler" in facts:
            self._place.scaler.load_state_dict(json.loads(facts["scaler"]))

    def take_best(self, path: Path) -> None:
        """The weights of the best epoch before the checkpoint that this goes on from."""
        self._best = checkpoint.weights_of(path)

    def finish(self) -> None:
        """Have the weights that are to be exported, with their metrics and a look at their answers."""
        if self._best is not None and self.watch.best.epoch != self.epoch:
            self.module.load_state_dict(self._best)
            self.metrics, self.insights = dict(self.watch.best.metrics), None
        if self.insights is None and self._validation.has_insights:
            self.insights = self._validation.insights(self._validation.outputs(self.module))
        self.module.to("cpu")

    @property
    def exported_epoch(self) -> int:
        """The epoch whose weights `finish` chooses."""
        return self.epoch if self._best is None else self.watch.best.epoch

    def _pass_over_train(self, began: float, on_step: Callable[[], None]) -> float:
        steps = self._steps()
        self.module.train()
        while self.step < len(steps):
            self._loss_sum += self._step(steps[self.step])
            self.step += 1
            self._seconds = time.monotonic() - began
            on_step()
        return self._loss_sum / len(self._train[-1])

    def _steps(self) -> list[Sequence[Tensor]]:
        """The places of the items of each batch of each step of the epoch that begins, or goes on."""
        seed_everything(self._seed, self.epoch + 1)
        batches = torch.randperm(len(self._train[-1])).to(self._place.device).tensor_split(self.batches_per_epoch)
        if self._generators is not None:
            self._generators.restore()
            self._generators = None
        width = self._options.accumulate
        return [batches[first : first + width] for first in range(0, len(batches), width)]

    def _step(self, batches: Sequence[Tensor]) -> float:
        """One step of the optimiser; the sum of the losses of its items."""
        done = (self.epoch + self.step / self.steps_per_epoch) / self._config.epochs
        rate = self._model.learning_rate(self._config, done)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad()
        items = sum(map(len, batches))
        total = self._gradient(batches, items)
        self.step_figures = {"train_loss": total / items, "learning_rate": rate}
        norm = self._place.clip(self.module, self._optimiser)
        if norm is not None:
            self.step_figures["gradient_norm"] = norm
        self._place.step(self._optimiser)
        return total

    def _gradient(self, batches: Sequence[Tensor], items: int) -> float:
        """Have the gradient of a step on so many items; the sum of their losses."""
        return sum(self._learn(places, items) for places in batches)

    def _learn(self, places: Tensor, items: int) -> float:
        """Add what one batch says to the gradient of a step on so many items; the sum of its losses."""
        batch = [column[places] for column in self._train]
        with self._place.learning():
            loss = self._model.loss(self.module(*batch[:-1]), batch[-1])
        value = self._guard.check(loss.item(), self.epoch + 1, self.step + 1)
        self._place.backward(loss if len(places) == items else loss * (len(places) / items))
        return value * len(places)

    def _rate(self) -> float:
        return float(self._optimiser.param_groups[0]["lr"])

    def _judge(self, loss: float) -> None:
        """Measure what there is to be measured after this epoch, and see whether it is the best."""
        outputs = self._validation.outputs(self.module) if self._is_evaluated() else None
        measured = {} if outputs is None else self._validation.metrics(outputs, with_loss=True)
        self.metrics = {"train_loss": loss, **measured, "learning_rate": self._rate()}
        self._guard.check_all(self.metrics, self.epoch)
        self.is_best = outputs is not None and self.watch.see(self.epoch, self.metrics)
        if self.is_best and self._options.model == "best":
            self._best = {name: tensor.detach().cpu().clone() for name, tensor in self.module.state_dict().items()}
        self.insights = None if outputs is None or not self._is_shown() else self._validation.insights(outputs)

    def _is_evaluated(self) -> bool:
        return self.epoch >= self._config.epochs or self.epoch % self._options.evaluate_every == 0

    def _is_shown(self) -> bool:
        every = self._options.insights_every
        return self.is_over or (every is not None and self.epoch % every == 0)

    def _identity(self) -> dict[str, str]:
        told = self._options.told()
        return {
            "model": self._model.name,
            "code_version": self._model.code_version,
            "config": json.dumps(self._config.model_dump(mode="json"), sort_keys=True),
            "seed": str(self._seed),
            **({"training": json.dumps(told, sort_keys=True)} if told else {}),
        }


def _as_tensor(target: "NDArray[Any]") -> Tensor:
    """Texts become their bytes, with zeros after the end."""
    return as_bytes(target.tolist()) if target.dtype.kind in "SO" else torch.from_numpy(target)


def _adapts(model: Model[Any]) -> bool:
    return type(model).adapt is not Model.adapt
