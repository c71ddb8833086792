"""The process of a training task: `python -m services.trainer.engine`; spec and reports: shared/worker.py.

Torch is imported only when the work begins, so that the service can share the spec without it.
"""

import os
import socket
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
from shared.worker import Curves, Meeting, Reporter, Result, Seat

if TYPE_CHECKING:
    from library.base import Config, Model
    from library.training.epochs import Training
    from library.training.profile import Profile

MODEL_FILE = "model.onnx"
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


class TrainingSpec(BaseModel):
    """What the service asks of the process; files are relative to the work folder.

    `best` is the checkpoint of the best epoch before the one to resume from, where there is one; `seat` is that of the
    process among several workers.
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
    seat: Seat | None = None


def train(raw: dict[str, Any], reporter: Reporter) -> Result:
    """Train to the end, with checkpoints on the way, and export the model."""
    spec = TrainingSpec.model_validate(raw)
    model = library.model(spec.model)
    config = model.validate(spec.config)
    if spec.seat and spec.seat.rank:
        return _help(spec, model, config)
    with Pace(reporter) as pace:
        model.fetch(partial(child.tell, reporter))
        with child.uncollected():
            training = begin(spec, model, config, reporter)
        pace.begin(training.steps_done, config.epochs * training.steps_per_epoch)
        run(training, config, spec, pace, reporter)
        pace.end()
        with child.uncollected():
            return _finish(training, model, config, reporter)


def _help(spec: TrainingSpec, model: "Model[Any]", config: "Config") -> Result:
    """Take the steps of a training on items of one's own; the first of its workers tells and keeps what comes of it."""
    model.fetch(child.log.info)
    training = begin(spec, model, config)
    while not training.is_over:
        training.run_epoch(lambda: None)
    return Result()


def begin(spec: TrainingSpec, model: "Model[Any]", config: "Config", reporter: Reporter | None = None) -> "Training":
    """A training on the files of the work folder, where it was left; the first of several workers tells of it."""
    seat, listening = _met(spec.seat, reporter) if spec.seat else (None, None)
    if spec.training.deterministic:
        os.environ.setdefault(WORKSPACE, ":4096:8")  # before a GPU is asked for the first time
    import torch

    from library.files import unpack
    from library.training.epochs import Training

    torch.set_num_threads(spec.threads)
    torch.use_deterministic_algorithms(spec.training.deterministic)
    parts = unpack(Path(spec.train)), unpack(Path(spec.validation))
    given = (model, config, spec.seed, *parts, spec.training)
    training = Training(*given) if seat is None else _shared(seat, listening, *given)
    if spec.resume:
        training.resume(Path(spec.resume))
        child.log.info("resumed %s", training.position)
    if spec.best and spec.training.model == "best":
        training.take_best(Path(spec.best))
    return training


def _shared(seat: Seat, listening: socket.socket | None, *given: Any) -> "Training":
    from library.training.together import SharedTraining

    return SharedTraining(seat, listening, *given)


def _met(seat: Seat, reporter: Reporter | None) -> tuple[Seat, socket.socket | None]:
    """The seat of a worker who knows where to meet; the first one waits there for the others, and says where it is."""
    if seat.rank or reporter is None:
        return seat, None
    listening = socket.create_server((seat.host, 0))
    address = f"{seat.host}:{listening.getsockname()[1]}"
    reporter.send(Meeting(address=address))
    return seat.model_copy(update={"meeting": address}), listening


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
