"""A training that was cut off anywhere gives the very weights of one that was not."""

import random
import signal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import library
from library.base import Part
from library.files import pack, write_atomically
from library.training.epochs import Training
from library.training.facts import position_of
from shared.errors import InvalidInput
from shared.training import TrainingOptions
from shared.worker import Checkpoint, Report, Result
from tests.unit.members import sample
from tests.unit.task_process import TaskProcess, run
from tests.unit.test_training_engine import SMALL, TRAIN, digest

SEED = 20261128
ITEMS = 150
EPOCHS = 3
MEMBERS = ("digits-cnn", "diabetes-mlp", "breast-cancer-mlp", "thyroid", "direction", "ctr", "sentiment", "volatility")
OPTIONS = (
    {},
    {"accumulate": 3},
    {"accumulate": 2, "clip_norm": 0.5},
    {"precision": "bfloat16"},
    {"evaluate_every": 2, "model": "best"},
    {"early_stopping": {"patience": 1, "min_delta": 0.05}, "model": "best", "accumulate": 2},
)


class CutOff(Exception):
    """The process is gone."""


@cache
def items(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    train, validation = (sample(library.model(name).dataset, part, ITEMS) for part in (Part.TRAIN, Part.VALIDATION))
    return train, validation


def begun(name: str, options: TrainingOptions) -> Training:
    model = library.model(name)
    config = model.validate({"epochs": EPOCHS, "batch_size": max(16, smallest(model))})
    return Training(model, config, 7, *items(name), options)


def smallest(model: Any) -> int:
    return int(model.config.model_json_schema()["properties"]["batch_size"]["minimum"])


def ended(training: Training) -> dict[str, torch.Tensor]:
    """What is exported in the end."""
    while not training.is_over:
        training.run_epoch(lambda: None)
    training.finish()
    return {name: tensor.clone() for name, tensor in training.module.state_dict().items()}


def cut_off(training: Training, steps: int, path: Path) -> Path | None:
    """Train so many steps, with a checkpoint after the last, and one that holds the best; nothing lives on."""
    best: Path | None = None
    left = steps

    def on_step() -> None:
        nonlocal left
        left -= 1
        if left == 0 and training.step < training.steps_per_epoch:
            training.save(path)
            raise CutOff

    while not training.is_over:
        training.run_epoch(on_step)
        training.save(path)
        if training.is_best:
            best = path.with_name(f"best-{training.epoch}")
            training.save(best)
        if left <= 0:
            break
    return best


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(MEMBERS), st.sampled_from(OPTIONS), st.data())
def test_cut_off_at_any_step_it_ends_the_same(
    tmp_path_factory: pytest.TempPathFactory, name: str, told: dict[str, Any], data: st.DataObject
) -> None:
    options, path = TrainingOptions.model_validate(told), tmp_path_factory.mktemp("cut") / "checkpoint"
    whole = begun(name, options)
    wanted = ended(whole)
    first = begun(name, options)
    best: list[Path] = []
    steps = data.draw(st.integers(1, whole.steps_per_epoch * EPOCHS), label="steps")
    try:
        best = list(filter(None, [cut_off(first, steps, path)]))
    except CutOff:
        best = sorted(path.parent.glob("best-*"), key=lambda found: int(found.name.removeprefix("best-")))
    torch.manual_seed(data.draw(st.integers(0, 2**32), label="what another process begins with"))
    second = begun(name, options)
    second.resume(path)
    assert (second.epoch, second.step) == (first.epoch, first.step)
    assert position_of(path) == second.position
    if best and options.model == "best":
        second.take_best(best[-1])
    found = ended(second)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert {**second.metrics, "seconds": 0} == {**whole.metrics, "seconds": 0}
    assert second.watch.state() == whole.watch.state()


def test_a_checkpoint_of_other_options_is_refused(tmp_path: Path) -> None:
    one = begun("diabetes-mlp", TrainingOptions(accumulate=2))
    one.run_epoch(lambda: None)
    one.save(tmp_path / "checkpoint")
    with pytest.raises(InvalidInput, match="training is .*accumulate.*, not"):
        begun("diabetes-mlp", TrainingOptions(accumulate=4)).resume(tmp_path / "checkpoint")


def spec(name: str, config: dict[str, Any], told: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = {"task_id": "train-test", "model": name, "config": config, "seed": 5, "threads": 1, "training": told}
    return base | {"train": "train.npz", "validation": "validation.npz"} | changes


class Keeper:
    """A parent that takes each checkpoint away, as the service does, and kills the process after so many."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept, self.best = folder, "", ""
        self.positions: list[tuple[int, int]] = []

    def attempt(self, raw: dict[str, Any], checkpoints: int | None) -> Result | None:
        given = raw | ({"resume": self.kept} if self.kept else {}) | ({"best": self.best} if self.best else {})
        process, result, left = TaskProcess(TRAIN, given, self.folder), None, checkpoints
        for report in process:
            result = report if isinstance(report, Result) else result
            left = self.take(report, left)
            if left == 0:
                process.process.kill()
        assert process.close() == (0 if result else -signal.SIGKILL)
        return result

    def take(self, report: Report, left: int | None) -> int | None:
        if not isinstance(report, Checkpoint):
            return left
        self.positions.append((report.epoch, report.step))
        (self.folder / report.file).rename(self.folder / f"kept-{report.steps}")
        self.kept = f"kept-{report.steps}"
        self.best = self.kept if report.is_best else self.best
        return None if left is None else left - 1


def test_no_checkpoint_is_written_before_the_last_was_taken(tmp_path: Path) -> None:
    """Nobody takes any here, so in the middle there is but the first; those of the ends of epochs come anyway."""
    for part in (Part.TRAIN, Part.VALIDATION):
        write_atomically(tmp_path / f"{part}.npz", pack(sample("digits", part, 600)))
    done = run(TRAIN, spec("digits-cnn", SMALL, {"checkpoint_steps": 2}), tmp_path)
    places = [(found.epoch, found.step, found.steps) for found in done.of(Checkpoint)]
    assert places == [(0, 2, 2), (1, 0, 5), (2, 0, 10), (3, 0, 15)]
    assert any(found.is_best for found in done.of(Checkpoint)) and not done.of(Checkpoint)[0].is_best


@pytest.mark.parametrize(
    ("name", "config", "told", "often", "most"),
    [
        ("digits-cnn", SMALL | {"batch_size": 32}, {}, {"checkpoint_minutes": 1e-4}, 2),
        pytest.param(
            "digits-cnn",
            {"batch_size": 32},
            {"accumulate": 4, "clip_norm": 1.0, "model": "best"},
            {"checkpoint_steps": 1},
            7,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "breast-cancer-mlp",
            {},
            {"precision": "bfloat16", "early_stopping": {"patience": 3}},
            {"checkpoint_steps": 3},
            7,
            marks=pytest.mark.slow,
        ),
        ("sentiment", {}, {"accumulate": 2, "evaluate_every": 2}, {"checkpoint_steps": 1}, 7),
    ],
)
def test_killed_at_random_steps_the_file_is_the_same(
    name: str, config: dict[str, Any], told: dict[str, Any], often: dict[str, Any], most: int, tmp_path: Path
) -> None:
    """kill -9 twice, after checkpoints that are mostly in the middle of an epoch.

    By the clock there may be none but those of the four ends of epochs, of which each kill may take two.
    """
    model, config = library.model(name), {"batch_size": 64, **config, "epochs": 4}
    for part in (Part.TRAIN, Part.VALIDATION):
        content = pack(sample(model.dataset, part, 600))
        for folder in ("whole", "cut"):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_atomically(tmp_path / folder / f"{part}.npz", content)
    whole = run(TRAIN, spec(name, config, told), tmp_path / "whole")
    keeper, chance = Keeper(tmp_path / "cut"), random.Random(f"{SEED}-{name}-{told}")
    raw = spec(name, config, told | often)
    for _ in range(2):
        assert keeper.attempt(raw, chance.randint(1, most)) is None
    result = keeper.attempt(raw, None)
    assert result is not None
    assert any(step for _, step in keeper.positions)
    assert digest(tmp_path / "cut" / "model.onnx") == digest(tmp_path / "whole" / "model.onnx")
    assert result.data == whole.result.data
