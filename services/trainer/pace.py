"""How far the process of a training is, told while it works."""

import threading
import time

from shared.worker import Progress, Reporter

TICK_SECONDS = 0.5
EXPORT_SECONDS = 3.0
EXPORT_SHARE = 0.05


class Pace:
    """Tells twice a second how far a training is, from a thread: it moves within steps and the export too."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._first = self._steps = 0
        self._total: int | None = None
        self._began = self._moved = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="pace", daemon=True)

    def __enter__(self) -> "Pace":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self, steps: int, total: int) -> None:
        """Loading is done; of all steps of the task these are done already."""
        self._began = self._moved = time.monotonic()
        self._first, self._steps, self._total = steps, steps, total

    @property
    def steps(self) -> int:
        """How many steps are done of the whole training."""
        return self._steps

    def step(self) -> None:
        self._steps += 1
        self._moved = time.monotonic()

    def end(self) -> None:
        """There is nothing more to train, though fewer steps were done than there might have been."""
        self._total = self._steps

    def progress(self, now: float) -> Progress:
        """How far it is now; the time left by the speed of this run's own steps, once there is one."""
        if self._total is None:
            return Progress(fraction=0, message="loading")
        trained = self._steps / self._total if self._total else 1.0
        exported = min(1.0, (now - self._moved) / EXPORT_SECONDS) if trained == 1 else 0.0
        return Progress(
            fraction=trained * (1 - EXPORT_SHARE) + exported * EXPORT_SHARE * 0.9,
            message="training" if trained < 1 else "exporting",
            seconds_left=self._left(now, self._total),
        )

    def _left(self, now: float, total: int) -> float | None:
        if (own := self._steps - self._first) == 0:
            return None
        pace = (self._moved - self._began) / own
        return max(0.0, (total - self._steps) * pace + EXPORT_SECONDS - (now - self._moved))

    def _tick(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            self._reporter.send(self.progress(time.monotonic()))
