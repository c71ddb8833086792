"""The process of a training task: `python -m services.trainer.engine`; spec and reports: shared/worker.py.

Torch is imported only when the work begins, so that the service can share the spec without it.
"""

import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

import library
from shared import child
from shared.names import Slug
from shared.worker import Checkpoint, Curves, Metrics, Progress, Reporter, Result

if TYPE_CHECKING:
    from library.base import Config, Model
    from library.training.epochs import Training

MODEL_FILE = "model.onnx"
TICK_SECONDS = 0.5
EXPORT_SECONDS = 3.0
EXPORT_SHARE = 0.05


class TrainingSpec(BaseModel):
    """What the service asks of the process; files are relative to the work folder."""

    model_config = ConfigDict(extra="forbid")

    task_id: str
    model: Slug
    config: dict[str, Any] = {}
    seed: int = Field(default=0, ge=0, lt=2**63)
    threads: int = Field(default=1, ge=1)
    train: str
    validation: str
    resume: str | None = None


class Pace:
    """Tells twice a second how far a training is, from a thread: it moves within steps and the export too."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._first = self._steps = 0
        self._total: int | None = None
        self._began = self._moved = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="pace", daemon=True)

    def __enter__(self) -> "Pace":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self, steps: int, total: int) -> None:
        """Loading is done; of all steps of the task these are done already."""
        self._began = self._moved = time.monotonic()
        self._first, self._steps, self._total = steps, steps, total

    @property
    def steps(self) -> int:
        """How many steps are done of the whole training."""
        return self._steps

    def step(self) -> None:
        self._steps += 1
        self._moved = time.monotonic()

    def progress(self, now: float) -> Progress:
        """How far it is now; the time left by the speed of this run's own steps, once there is one."""
        if self._total is None:
            return Progress(fraction=0, message="loading")
        trained = self._steps / self._total if self._total else 1.0
        exported = min(1.0, (now - self._moved) / EXPORT_SECONDS) if trained == 1 else 0.0
        return Progress(
            fraction=trained * (1 - EXPORT_SHARE) + exported * EXPORT_SHARE * 0.9,
            message="training" if trained < 1 else "exporting",
            seconds_left=self._left(now, self._total),
        )

    def _left(self, now: float, total: int) -> float | None:
        if (own := self._steps - self._first) == 0:
            return None
        pace = (self._moved - self._began) / own
        return max(0.0, (total - self._steps) * pace + EXPORT_SECONDS - (now - self._moved))

    def _tick(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            self._reporter.send(self.progress(time.monotonic()))


def train(raw: dict[str, Any], reporter: Reporter) -> Result:
    """Train to the last epoch, each with its metrics and then its checkpoint, and export the model."""
    spec = TrainingSpec.model_validate(raw)
    model = library.model(spec.model)
    config = model.validate(spec.config)
    with Pace(reporter) as pace:
        model.fetch(partial(child.tell, reporter))
        training = _begin(spec, model, config)
        pace.begin(training.epoch * training.steps_per_epoch, config.epochs * training.steps_per_epoch)
        curves = Curves(reporter, training.steps_per_epoch)

        def on_step() -> None:
            pace.step()
            curves.add(pace.steps, training.step_figures)

        while training.epoch < config.epochs:
            training.run_epoch(on_step)
            curves.flush()
            _report_epoch(training, config, reporter)
        if not config.epochs:
            training.validate()
        return _finish(training, model, config)


def _begin(spec: TrainingSpec, model: "Model[Any]", config: "Config") -> "Training":
    import torch

    from library.files import unpack
    from library.training.epochs import Training

    torch.set_num_threads(spec.threads)
    torch.use_deterministic_algorithms(True)
    training = Training(model, config, spec.seed, unpack(Path(spec.train)), unpack(Path(spec.validation)))
    if spec.resume:
        training.resume(Path(spec.resume))
        child.log.info("resumed after epoch %d", training.epoch)
    return training


def _report_epoch(training: "Training", config: "Config", reporter: Reporter) -> None:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in training.metrics.items())
    child.log.info("epoch %d of %d: %s", training.epoch, config.epochs, figures)
    reporter.send(Metrics(epoch=training.epoch, values=training.metrics))
    file = f"checkpoint-{training.epoch:05d}.safetensors"
    training.save(Path(file))
    reporter.send(Checkpoint(epoch=training.epoch, file=file))


def _finish(training: "Training", model: "Model[Any]", config: "Config") -> Result:
    from library.graphs.export import export
    from library.graphs.front import weights_of

    signature = export(model, training.module, Path(MODEL_FILE))
    child.log.info("exported %s, %d bytes", MODEL_FILE, Path(MODEL_FILE).stat().st_size)
    data = {
        "signature": signature.model_dump(mode="json"),
        "metrics": {name: value for name, value in training.metrics.items() if name != "seconds"},
        "labels": model.labels,
        "parameters": config.model_dump(mode="json"),
        "weights": sum(weight.numel() for weight in training.module.parameters()) + weights_of(model.front()),
        "code_version": model.code_version,
    }
    return Result(files={"model": MODEL_FILE}, data=data)


if __name__ == "__main__":
    child.run(train)
