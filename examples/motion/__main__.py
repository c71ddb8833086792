"""Counts who passes in a real clip, by a model that is brought to the stack.

PYTHONPATH=sdk .venv/bin/python -m examples.motion
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aimass import Client
from numpy.typing import NDArray

from examples.champion import SERVED_SECONDS, serving
from examples.gallery import connected
from examples.motion import clip, graph

MODEL = "motion"


def bring(client: Client) -> None:
    """Upload the model and have it serve; nothing evaluates it, so that it is promoted with a reason."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "motion.onnx"
        graph.write(path, clip.HEIGHT, clip.WIDTH)
        version = client.upload(MODEL, path, summary="people on foot, by what moves")["version"]
    client.promote(MODEL, version, force="a demonstration without labels")
    deadline = time.monotonic() + SERVED_SECONDS
    while serving(client, MODEL) != version:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{MODEL} does not answer")
        time.sleep(0.2)


def ask(client: Client, frames: NDArray[Any]) -> Iterator[tuple[float, float, int]]:
    """Each second of the clip: when it is, the share of the picture that moves, and how many people are seen."""
    for last in range(2 * graph.FRAMES, len(frames) + 1, clip.RATE):
        window = frames[last - 2 * graph.FRAMES : last : 2][None]
        found = client.predict(MODEL, {"clip": window})
        yield last / clip.RATE, float(found["moving"][0]), int(found["people"][0])


if __name__ == "__main__":
    with connected() as client:
        if serving(client, MODEL) is None:
            bring(client)
        for second, moving, people in ask(client, clip.frames()):
            print(f"{second:5.0f} s  {moving:5.1%} moves  {people:2} {'█' * people}")
