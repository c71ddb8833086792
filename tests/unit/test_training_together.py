"""Several workers train as one does: the same weights but for rounding, of the same batches, from any checkpoint on."""

import random
import signal
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import library
from library.base import Part
from library.files import pack, write_atomically
from library.training.group import Exchange, Group
from shared.worker import Checkpoint, Failure, Lost, Meeting, Metrics, Report, Result
from tests.unit.members import sample
from tests.unit.task_process import TaskProcess
from tests.unit.test_training_engine import TRAIN, digest

SEED = 20261128
ITEMS = 301
FEW = {"epochs": 3, "batch_size": 32}
EXACT = {"dropout": 0.0}  # of members without batch norm, whose loss is a mean over items
CLIPPED = {"accumulate": 2, "clip_norm": 0.05}


class Workers:
    """The parent of several: starts the others where the first says that they meet, and gathers what all say."""

    def __init__(self, spec: dict[str, Any], folder: Path, count: int) -> None:
        self._spec, self._folder, self.count = spec, folder, count
        self.reports: list[Report] = []
        self.others: list[list[Report]] = []
        self.codes: list[int] = []

    def run(self) -> Iterator[Report]:
        """The reports of the first, whose others are there as soon as it has said where."""
        first = self._start(0, "")
        self.processes, threads = [first], []
        for report in first:
            self.reports.append(report)
            if isinstance(report, Meeting):
                for rank in range(1, self.count):
                    self.processes.append(self._start(rank, report.address))
                    self.others.append([])
                    gather = self.others[-1].extend
                    threads.append(threading.Thread(target=gather, args=(self.processes[-1],)))
                    threads[-1].start()
            yield report
        for thread in threads:
            thread.join()
        self.codes = [process.close() for process in self.processes]

    def _start(self, rank: int, meeting: str) -> TaskProcess:
        seat = {"workers": self.count, "rank": rank, "meeting": meeting}
        return TaskProcess(TRAIN, self._spec | ({"seat": seat} if self.count > 1 else {}), self._folder)

    def of(self, kind: Any) -> list[Any]:
        return [report for report in self.reports if isinstance(report, kind)]


def spec(name: str, config: dict[str, Any], count: int, told: dict[str, Any], **changes: Any) -> dict[str, Any]:
    told = told | ({"workers": count} if count > 1 else {})
    base = {"task_id": "train-test", "model": name, "config": FEW | config, "seed": 5, "threads": 1, "training": told}
    return base | {"train": "train.npz", "validation": "validation.npz"} | changes


@cache
def packed(dataset: str) -> dict[Part, bytes]:
    return {part: pack(sample(dataset, part, ITEMS)) for part in (Part.TRAIN, Part.VALIDATION)}


def prepared(name: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for part, content in packed(library.model(name).dataset).items():
        write_atomically(folder / f"{part}.npz", content)
    return folder


def trained(name: str, config: dict[str, Any], count: int, folder: Path, **told: Any) -> Workers:
    workers = Workers(spec(name, config, count, told), prepared(name, folder), count)
    list(workers.run())
    assert workers.codes == [0] * count
    assert all([report for report in said if isinstance(report, Result)] == [Result()] for said in workers.others)
    return workers


def last(workers: Workers, folder: Path) -> dict[str, Any]:
    return load_file(folder / workers.of(Checkpoint)[-1].file)


@pytest.mark.parametrize(
    ("name", "count", "told"),
    [
        ("breast-cancer-mlp", 3, {}),
        ("diabetes-mlp", 2, CLIPPED),
        pytest.param("thyroid", 3, CLIPPED, marks=pytest.mark.slow),
        pytest.param("next-basket", 2, {}, marks=pytest.mark.slow),
    ],
)
def test_the_weights_are_those_of_one_worker(name: str, count: int, told: dict[str, Any], tmp_path: Path) -> None:
    """301 items in batches of 30 or 31 are divided unevenly by two and by three."""
    wanted = last(one := trained(name, EXACT, 1, tmp_path / "one", **told), tmp_path / "one")
    found = last(several := trained(name, EXACT, count, tmp_path / "several", **told), tmp_path / "several")
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=2e-3, atol=2e-5, err_msg=key)
    for ours, theirs in zip(several.of(Metrics), one.of(Metrics), strict=True):
        for metric in theirs.values.keys() - {"seconds"}:
            assert ours.values[metric] == pytest.approx(theirs.values[metric], rel=1e-3, abs=1e-5)


def test_batch_norm_and_dropout_make_another_model_that_is_as_good(tmp_path: Path) -> None:
    """Statistics are of each worker's share, and the mean of these is kept; random numbers are of each worker."""
    config = {"epochs": 8, "channels": 8, "hidden": 32}
    one = trained("digits-cnn", config, 1, tmp_path / "1")
    two = trained("digits-cnn", config, 2, tmp_path / "2")
    accuracy = [run.of(Metrics)[-1].values["validation_accuracy"] for run in (one, two)]
    assert accuracy[0] > 0.7 and abs(accuracy[0] - accuracy[1]) < 0.1
    assert digest(tmp_path / "1" / "model.onnx") != digest(tmp_path / "2" / "model.onnx")


@pytest.mark.parametrize(
    ("name", "victims", "config", "told"),
    [
        pytest.param(*("digits-cnn", (1, 0), {"channels": 8, "hidden": 16}, {"model": "best"}), marks=pytest.mark.slow),
        (
            "breast-cancer-mlp",
            (1,),
            {"epochs": 40},
            {"early_stopping": {"patience": 3}, "accumulate": 2, "evaluate_every": 2},
        ),
    ],
)
def test_whichever_is_killed_the_file_is_the_same(
    name: str, victims: tuple[int, ...], config: dict[str, Any], told: dict[str, Any], tmp_path: Path
) -> None:
    """kill -9 of a random one after a checkpoint that is mostly in the middle of an epoch; the other says so."""
    whole = trained(name, config, 2, tmp_path / "whole", **told)
    folder, chance = prepared(name, tmp_path / "cut"), random.Random(f"{SEED}-{name}")
    kept: dict[str, str] = {}
    for victim in victims:
        workers = Workers(spec(name, config, 2, told | {"checkpoint_steps": 1}, **kept), folder, 2)
        _kill_one(workers, folder, kept, victim, chance.randint(2, 6))
        assert workers.codes[victim] == -signal.SIGKILL
        left = workers.reports if victim else workers.others[0]
        assert [report for report in left if isinstance(report, Lost)] and workers.codes[1 - victim] == 1
    last_try = Workers(spec(name, config, 2, told | {"checkpoint_steps": 1}, **kept), folder, 2)
    list(last_try.run())
    assert last_try.of(Result) == whole.of(Result)
    assert digest(folder / "model.onnx") == digest(tmp_path / "whole" / "model.onnx")


def _kill_one(workers: Workers, folder: Path, kept: dict[str, str], victim: int, checkpoints: int) -> None:
    """Each checkpoint is taken away, as the service does."""
    for report in workers.run():
        if not isinstance(report, Checkpoint) or checkpoints == 0:
            continue
        (folder / report.file).rename(folder / f"kept-{report.steps}")
        kept["resume"] = f"kept-{report.steps}"
        if report.is_best:
            kept["best"] = kept["resume"]
        checkpoints -= 1
        if checkpoints == 0:
            workers.processes[victim].process.kill()


def test_a_loss_that_is_no_number_in_one_share_is_said_by_all(tmp_path: Path) -> None:
    folder = prepared("breast-cancer-mlp", tmp_path / "x")
    items = dict(sample("breast-cancer", Part.TRAIN, ITEMS))
    items["measures"] = items["measures"].copy()
    items["measures"][7] = np.inf
    write_atomically(folder / "train.npz", pack(items))
    workers = Workers(spec("breast-cancer-mlp", {}, 2, {}), folder, 2)
    list(workers.run())
    assert workers.codes == [1, 1]
    for said in (workers.reports, *workers.others):
        (failure,) = [report for report in said if isinstance(report, Failure)]
        assert failure.error == "Diverged" and "epoch 1" in failure.message


class Alone(Group):
    """A group of one of two, whose other has the same gradients."""

    def __init__(self) -> None:
        self.rank, self.workers, self.device = 0, 2, torch.device("cpu")

    def sum(self, tensor: torch.Tensor) -> None:
        tensor.mul_(2)


def test_what_has_no_gradient_in_any_worker_has_none_and_statistics_are_a_mean() -> None:
    module = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2, bias=False) for name in ("used", "unused")})
    module["norm"] = torch.nn.BatchNorm1d(2)
    module["norm"].running_mean.copy_(torch.tensor([1.0, 3.0]))
    module["used"](torch.ones(1, 2)).sum().backward()
    assert Exchange(Alone(), module).sum(1.5) == 3.0
    assert torch.equal(module["used"].weight.grad, torch.full((2, 2), 2.0))
    assert module["unused"].weight.grad is None
    assert module["norm"].running_mean.tolist() == [1.0, 3.0]


def test_shares_are_all_of_a_batch_each_once() -> None:
    group, batch = Alone(), torch.arange(5)
    shares = []
    for group.rank in range(2):
        shares += group.share(batch).tolist()
    assert shares == batch.tolist()
