"""A clip of a crossing, 795 frames with people on foot, which OpenCV's documentation brings along."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from library.sources.archives import Archive, Registry, cache
from shared.environments import environment

HERE = Path(__file__).parent
LOCK = HERE / "requirements.txt"
CLIP = "usr/share/doc/opencv-doc/examples/data/vtest.avi"
WIDTH, HEIGHT = 192, 144
EVERY, RATE = 2, 5
DECODING_SECONDS = 120
ARCHIVE = Archive(
    registry=Registry.DEBIAN,
    package="opencv-doc",
    version="4.6.0+dfsg-12",
    file="opencv-doc_4.6.0+dfsg-12_all.deb",
    sha256="4b12681df35878207ac7097dc66184b2ae552e4bf4ddd2af04a0f03ed0b8682a",
    size=95_715_012,
)


def frames() -> NDArray[Any]:
    """Every other frame of the clip, five a second, grey [frames, 144, 192]; fetched and decoded at a first use."""
    python = environment(cache() / "clips", LOCK)
    ARCHIVE.fetch(print)
    with tempfile.NamedTemporaryFile(suffix=".avi") as file:
        file.write(ARCHIVE.read(CLIP))
        file.flush()
        command = [str(python), "-I", str(HERE / "decode.py"), file.name, *map(str, (WIDTH, HEIGHT, EVERY))]
        grey = subprocess.run(command, check=True, capture_output=True, timeout=DECODING_SECONDS).stdout
    return np.frombuffer(grey, "u1").reshape(-1, HEIGHT, WIDTH)
