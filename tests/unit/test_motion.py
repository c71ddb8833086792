"""People who walk are counted, those who stand are not seen: drawn, in place of a clip."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.motion.graph import FRAMES, write

pytestmark = pytest.mark.library
HEIGHT, WIDTH = 72, 192
TALL, WIDE = 19, 7


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    path: Path = tmp_path_factory.mktemp("motion") / "motion.onnx"
    write(path, HEIGHT, WIDTH)
    return onnxruntime.InferenceSession(path)


def walk(clip: np.ndarray, row: int, speed: int) -> None:
    """A dark figure from left to right, or one that stands still."""
    for number, frame in enumerate(clip):
        left = 10 + (row * 3) % 40 + speed * number
        frame[row : row + TALL, left : left + WIDE] = 30


@settings(max_examples=30, deadline=None)
@given(walking=st.sets(st.sampled_from([2, 26, 50]), max_size=3), standing=st.sampled_from([2, 26, 50]))
def test_who_walks_is_counted(session: onnxruntime.InferenceSession, walking: set[int], standing: int) -> None:
    clip = np.full((FRAMES, HEIGHT, WIDTH), 160, "u1")
    for row in walking - {standing}:
        walk(clip, row, speed=4)
    walk(clip, standing, speed=0)
    moving, people = session.run(None, {"clip": clip[None]})
    assert people.tolist() == [len(walking - {standing})]
    assert (moving[0] > 0) == bool(walking - {standing})
