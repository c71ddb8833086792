"""The process of a training task: `python -m services.trainer.engine`; spec and reports: shared/worker.py.

Torch is imported only when the work begins, so that the service can share the spec without it.
"""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

import library
from services.trainer.pace import Pace
from services.trainer.saving import PROFILE_FILE, Saving, tell_insights, tell_profile
from shared import child
from shared.names import Slug
from shared.training import TrainingOptions
from shared.worker import Curves, Reporter, Result

if TYPE_CHECKING:
    from library.base import Config, Model
    from library.training.epochs import Training
    from library.training.profile import Profile

MODEL_FILE = "model.onnx"
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


class TrainingSpec(BaseModel):
    """What the service asks of the process; files are relative to the work folder.

    `best` is the checkpoint of the best epoch before the one to resume from, where there is one.
    """

    model_config = ConfigDict(extra="forbid")

    task_id: str
    model: Slug
    config: dict[str, Any] = {}
    seed: int = Field(default=0, ge=0, lt=2**63)
    threads: int = Field(default=1, ge=1)
    train: str
    validation: str
    resume: str | None = None
    best: str | None = None
    training: TrainingOptions = TrainingOptions()


def train(raw: dict[str, Any], reporter: Reporter) -> Result:
    """Train to the end, with checkpoints on the way, and export the model."""
    spec = TrainingSpec.model_validate(raw)
    model = library.model(spec.model)
    config = model.validate(spec.config)
    with Pace(reporter) as pace:
        model.fetch(partial(child.tell, reporter))
        with child.uncollected():
            training = begin(spec, model, config)
        pace.begin(training.steps_done, config.epochs * training.steps_per_epoch)
        run(training, config, spec, pace, reporter)
        pace.end()
        with child.uncollected():
            return _finish(training, model, config, reporter)


def begin(spec: TrainingSpec, model: "Model[Any]", config: "Config") -> "Training":
    """A training on the files of the work folder, where it was left."""
    if spec.training.deterministic:
        os.environ.setdefault(WORKSPACE, ":4096:8")  # before a GPU is asked for the first time
    import torch

    from library.files import unpack
    from library.training.epochs import Training

    torch.set_num_threads(spec.threads)
    torch.use_deterministic_algorithms(spec.training.deterministic)
    parts = unpack(Path(spec.train)), unpack(Path(spec.validation))
    training = Training(model, config, spec.seed, *parts, spec.training)
    if spec.resume:
        training.resume(Path(spec.resume))
        child.log.info("resumed %s", training.position)
    if spec.best and spec.training.model == "best":
        training.take_best(Path(spec.best))
    return training


def run(training: "Training", config: "Config", spec: TrainingSpec, pace: Pace, reporter: Reporter) -> None:
    """All epochs, or as many as it takes until nothing gets better."""
    saving, profile = Saving(training, spec.training, reporter), _profile(spec)
    curves = Curves(reporter, training.steps_per_epoch)

    def on_step() -> None:
        pace.step()
        curves.add(pace.steps, training.step_figures)
        saving.after_step()
        if profile is not None and profile.step():
            tell_profile(reporter)

    while not training.is_over:
        training.run_epoch(on_step)
        curves.flush()
        figures = ", ".join(f"{name} {value:.4g}" for name, value in training.metrics.items())
        child.log.info("epoch %d of %d: %s", training.epoch, config.epochs, figures)
        saving.after_epoch()
    if profile is not None and profile.finish():
        tell_profile(reporter)
    if not config.epochs:
        training.validate()


def _profile(spec: TrainingSpec) -> "Profile | None":
    """A training that goes on was profiled when it began."""
    if spec.training.profile_steps is None or spec.resume:
        return None
    from library.training.profile import Profile

    return Profile(spec.training.profile_steps, Path(PROFILE_FILE))


def _finish(training: "Training", model: "Model[Any]", config: "Config", reporter: Reporter) -> Result:
    from library.graphs.export import export
    from library.graphs.front import weights_of
    from library.training.record import record

    if training.epoch < config.epochs:
        child.log.info(
            "ended after epoch %d: nothing got better since epoch %d", training.epoch, training.watch.last_gain
        )
    training.finish()
    tell_insights(training, training.exported_epoch, reporter)
    signature = export(model, training.module, Path(MODEL_FILE))
    child.log.info("exported %s, %d bytes", MODEL_FILE, Path(MODEL_FILE).stat().st_size)
    data = {
        "signature": signature.model_dump(mode="json"),
        "metrics": {name: value for name, value in training.metrics.items() if name != "seconds"},
        "labels": model.labels,
        "parameters": config.model_dump(mode="json"),
        "weights": sum(weight.numel() for weight in training.module.parameters()) + weights_of(model.front()),
        "code_version": model.code_version,
        "epoch": training.exported_epoch,
        "record": record(),
    }
    return Result(files={"model": MODEL_FILE}, data=data)


if __name__ == "__main__":
    child.run(train)
