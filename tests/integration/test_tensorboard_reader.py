"""TensorBoard's own reader, in an environment of its own, finds in an exported file what was written into it."""

import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest

from shared.environments import environment
from shared.series import tensorboard
from shared.series.columns import Columns

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HERE = Path(__file__).parent / "tensorboard_client"


def test_the_official_reader_finds_every_point(tmp_path: Path) -> None:
    python = environment(tmp_path / "environment", HERE / "requirements.txt")
    steps = [0, 1, 127, 128, 16_383, 16_384, 2**40]
    short = Columns.of(steps, [1.7e9 + number / 10 for number in range(7)], [1 / number for number in range(1, 8)])
    many = np.arange(3000)
    long = Columns.of(many, many / 10, np.sin(many))  # type: ignore[arg-type]
    series = {"train_loss": short, "epoch/größe": long}
    folder = tmp_path / "runs"
    folder.mkdir()
    parts = [part for name, points in series.items() for part in tensorboard.scalars(name, points)]
    (folder / "events.out.tfevents.0.run").write_bytes(b"".join([tensorboard.beginning(1.7e9), *parts]))
    done = subprocess.run([str(python), str(HERE / "read.py"), str(folder)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert set(found) == set(series)
    for name, points in series.items():
        assert [(step, at) for step, at, _ in found[name]] == list(
            zip(points.steps.tolist(), points.times.tolist(), strict=True)
        )
        for (_, _, value), expected in zip(found[name], points.values.tolist(), strict=True):
            assert math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-7)
