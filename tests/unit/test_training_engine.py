"""The processes that prepare a data set and train: real processes, their files and what they say over the pipe."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from library.base import Part
from library.files import pack, unpack
from services.trainer.pace import Pace
from shared.worker import REPORT_FD, Checkpoint, Metrics, Progress, Reporter, Result
from tests.unit.task_process import ROOT, Ended, TaskProcess, run

PREPARE = "library.preparation"
TRAIN = "services.trainer.engine"
DIGITS_DIGEST = "80dff3675a10ecbfc562b1585142b5a8fdede653626c802730d2f12347b43909"
SMALL = {"epochs": 3, "channels": 8, "hidden": 16, "batch_size": 128}
ENDLESS = SMALL | {"epochs": 10_000}


def spec(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = {"task_id": "train-test", "model": "digits-cnn", "config": config, "seed": 5, "threads": 1}
    return base | {"train": "train.npz", "validation": "validation.npz"} | changes


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    assert run(PREPARE, {"dataset": "digits"}, folder).result
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A work folder of its own with the parts in it."""
    for part in Part:
        shutil.copy(prepared / f"{part}.npz", tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(prepared: Path) -> tuple[Ended, Path]:
    """A training that nothing interrupted."""
    return run(TRAIN, spec(SMALL), prepared), prepared


def test_digits_are_prepared_as_they_always_were(tmp_path: Path) -> None:
    result = run(PREPARE, {"dataset": "digits"}, tmp_path).result
    assert result.files == {"train": "train.npz", "validation": "validation.npz", "test": "test.npz"}
    assert result.data["digest"] == DIGITS_DIGEST
    assert result.data["parts"] == {part: digest(tmp_path / file) for part, file in result.files.items()}
    assert result.data["sizes"] == {"train": 1258, "validation": 270, "test": 269}
    assert {"labels", "schema", "source", "licence", "profile", "preview"} < result.data.keys()
    assert unpack(tmp_path / "test.npz")["image"].shape == (269, 1, 8, 8)


def test_an_unknown_data_set_is_a_failure_that_says_so(tmp_path: Path) -> None:
    failure = run(PREPARE, {"dataset": "nope"}, tmp_path).failure
    assert failure.error == "NotFound"
    assert "digits" in failure.message


def test_each_epoch_tells_its_metrics_and_then_its_checkpoint(whole: tuple[Ended, Path]) -> None:
    ended, folder = whole
    assert ended.order == [*(f"{kind} {n}" for n in (1, 2, 3) for kind in ("metrics", "checkpoint")), "result"]
    for report in ended.of(Metrics):
        assert set(report.values) == {
            "train_loss", "validation_loss", "validation_accuracy", "learning_rate", "seconds",
        }  # fmt: skip
    assert all((folder / report.file).stat().st_size > 0 for report in ended.of(Checkpoint))
    assert not list(folder.glob(".*.part"))


def test_progress_never_goes_back_and_tells_the_time_left(whole: tuple[Ended, Path]) -> None:
    told = whole[0].of(Progress)
    fractions = [report.fraction for report in told]
    assert fractions == sorted(fractions)
    assert told[0].message == "starting"
    assert any(report.seconds_left for report in told)


def test_the_result_says_all_that_a_version_needs(whole: tuple[Ended, Path]) -> None:
    result = whole[0].result
    assert result.files == {"model": "model.onnx"}
    assert result.data["signature"] == {
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
    }
    assert result.data["parameters"].items() > SMALL.items()
    assert result.data["labels"] == [str(label) for label in range(10)]
    assert result.data["code_version"]
    assert result.data["metrics"]["validation_accuracy"] == whole[0].of(Metrics)[-1].values["validation_accuracy"]


def test_a_training_killed_during_its_export_only_exports_again(whole: tuple[Ended, Path], folder: Path) -> None:
    last = whole[0].of(Checkpoint)[-1].file
    shutil.copy(whole[1] / last, folder)
    resumed = run(TRAIN, spec(SMALL, resume=last), folder)
    assert resumed.order == ["result"]
    assert resumed.result.data == whole[0].result.data
    assert digest(folder / "model.onnx") == digest(whole[1] / "model.onnx")


def test_another_seed_gives_another_model(whole: tuple[Ended, Path], folder: Path) -> None:
    """Seen after an epoch already: in every tensor that is trained."""
    other = TaskProcess(TRAIN, spec(SMALL, seed=6, threads=2), folder)
    file = other.await_first(Checkpoint).file
    other.process.kill()
    other.close()
    one, another = (load_file(place / file) for place in (whole[1], folder))
    weights = [name for name in one if name.endswith("weight")]
    assert weights
    assert not any(np.array_equal(one[name], another[name]) for name in weights)


def test_the_default_training_reads_digits_it_has_not_seen(folder: Path) -> None:
    run(TRAIN, spec({}), folder)
    items = unpack(folder / "test.npz")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"image": items["image"]})
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (probabilities.argmax(axis=1) == items["digit"]).mean() >= 0.98


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "nope"}, "NotFound", "digits-cnn"),
        ({"config": {"epochs": 0}}, "InvalidInput", "config.epochs"),
        ({"config": {"surprise": 1}}, "InvalidInput", "config.surprise"),
        ({"train": "absent.npz"}, "FileNotFoundError", "absent.npz"),
        ({"threads": 0}, "ValidationError", "threads"),
        ({"surprise": 1}, "ValidationError", "surprise"),
    ],
)
def test_a_failing_task_says_why(changes: dict[str, Any], error: str, message: str, folder: Path) -> None:
    failure = run(TRAIN, spec(SMALL) | changes, folder).failure
    assert failure.error == error
    assert message in failure.message


def test_a_checkpoint_of_another_training_is_refused(whole: tuple[Ended, Path], folder: Path) -> None:
    file = whole[0].of(Checkpoint)[0].file
    shutil.copy(whole[1] / file, folder)
    failure = run(TRAIN, spec(SMALL, resume=file, seed=6), folder).failure
    assert "seed is 5, not 6" in failure.message


def test_a_torn_checkpoint_is_a_failure(whole: tuple[Ended, Path], folder: Path) -> None:
    file = whole[0].of(Checkpoint)[0].file
    (folder / file).write_bytes((whole[1] / file).read_bytes()[:1000])
    assert run(TRAIN, spec(SMALL, resume=file), folder).failure.error == "SafetensorError"


def test_a_loss_that_is_no_number_ends_the_training(folder: Path) -> None:
    items = unpack(folder / "train.npz")
    (folder / "train.npz").write_bytes(pack(items | {"image": items["image"] * np.float32("nan")}))
    ended = run(TRAIN, spec(SMALL), folder)
    assert ended.failure.error == "Diverged"
    assert ended.failure.message.startswith("the loss is nan at step 1 of epoch 1; no loss was a number before: try a")
    assert not ended.of(Checkpoint)


def test_sigterm_ends_it_between_two_reports(folder: Path) -> None:
    task = TaskProcess(TRAIN, spec(ENDLESS), folder)
    task.await_first(Checkpoint)
    task.process.terminate()
    assert not [report for report in task if isinstance(report, Result)]
    assert task.close() == -signal.SIGTERM


def test_it_dies_with_its_parent(folder: Path) -> None:
    """The pipe's reading end stays open here, so that only the parent's death can end the task."""
    reader, writer = os.pipe()
    (folder / "spec.json").write_text(json.dumps(spec(ENDLESS)))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(writer)],
        pass_fds=[writer],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), REPORT_FD: str(writer)},
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as reports:
        assert any(b"checkpoint" in line for line in reports)
        parent.kill()
        parent.wait()
        assert b'"result"' not in reports.read()


PARENT = """
import subprocess, sys
with open("spec.json") as spec, open("log", "w") as log:
    subprocess.run(
        [sys.executable, "-m", "services.trainer.engine"],
        stdin=spec, stdout=log, stderr=log, pass_fds=[int(sys.argv[1])],
    )
"""


def test_it_leaves_when_its_parent_has_gone_before_it_began(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", TRAIN],
        input=b"{}",
        pass_fds=[writer],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), REPORT_FD: str(writer)},
        check=False,
    )
    os.close(writer)
    assert ended.returncode == 1


@given(st.integers(0, 50), st.integers(1, 50), st.lists(st.floats(0, 1e4), min_size=2, max_size=9))
def test_pace_only_goes_on_and_its_time_only_runs_down(done: int, more: int, waits: list[float]) -> None:
    reader, writer = os.pipe()
    pace = Pace(Reporter(writer))
    os.close(reader)
    pace.begin(done, done + more)
    pace.step()
    told = [pace.progress(pace._moved + wait) for wait in sorted(waits)]
    left = [report.seconds_left or 0.0 for report in told]
    fractions = [report.fraction for report in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1
    assert left == sorted(left, reverse=True)
