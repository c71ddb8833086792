"""A trace of some steps of a training, as Chrome and Perfetto show it."""

from pathlib import Path

import torch
from torch import profiler

PROFILE_FILE = "profile.json.gz"


class Profile:
    """Records the steps that follow the first one, in which much is done for the only time."""

    def __init__(self, steps: int, path: Path) -> None:
        self._left, self._path = steps, path
        self._profiler: profiler.profile | None = None

    def step(self) -> bool:
        """After each step: whether the trace has just been written."""
        if self._profiler is None:
            if self._left:
                self._begin()
            return False
        self._left -= 1
        return self._left == 0 and self.finish()

    def finish(self) -> bool:
        """Write what was recorded, be it less than was wanted; whether there was anything."""
        if self._profiler is None:
            return False
        self._profiler.stop()
        self._profiler.export_chrome_trace(str(self._path))
        self._profiler, self._left = None, 0
        return True

    def _begin(self) -> None:
        kinds = [profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            kinds.append(profiler.ProfilerActivity.CUDA)
        self._profiler = profiler.profile(activities=kinds, record_shapes=True)
        self._profiler.start()
