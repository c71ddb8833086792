"""When the process of a training writes a checkpoint, and what else it says of an epoch."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from shared import child
from shared.training import TrainingOptions
from shared.worker import Checkpoint, Insights, Kept, Metrics, Reporter

if TYPE_CHECKING:
    from library.training.epochs import Training

PROFILE = "profile"
PROFILE_FILE = "profile.json.gz"


class Saving:
    """Saves a training after each epoch, and in its middle every so many steps or minutes.

    In the middle only once the checkpoint before it was taken: a parent that is slow holds nothing up.
    """

    def __init__(self, training: "Training", options: TrainingOptions, reporter: Reporter) -> None:
        self._training, self._reporter = training, reporter
        self._steps = options.checkpoint_steps
        self._seconds = None if options.checkpoint_minutes is None else options.checkpoint_minutes * 60
        self._saved = time.monotonic()
        self._last: Path | None = None

    def after_step(self) -> None:
        is_due = self._is_due()
        is_last = self._training.step == self._training.steps_per_epoch
        if is_due and not is_last and not (self._last and self._last.exists()):
            self._save()

    def after_epoch(self) -> None:
        """First what was measured, then the checkpoint, then the look at the answers."""
        self._reporter.send(Metrics(epoch=self._training.epoch, values=self._training.metrics))
        self._save()
        if not self._training.is_over:  # then it is told at the end, of the weights that are exported
            tell_insights(self._training, self._training.epoch, self._reporter)

    def _is_due(self) -> bool:
        if self._steps is not None and self._training.steps_done % self._steps == 0:
            return True
        return self._seconds is not None and time.monotonic() - self._saved >= self._seconds

    def _save(self) -> None:
        training = self._training
        self._last = Path(f"checkpoint-{training.steps_done:08d}.safetensors")
        training.save(self._last)
        is_best = training.is_best and not training.step
        place = {"epoch": training.epoch, "step": training.step, "steps": training.steps_done}
        self._reporter.send(Checkpoint(**place, is_best=is_best, file=self._last.name))
        self._saved = time.monotonic()


def tell_insights(training: "Training", epoch: int, reporter: Reporter) -> None:
    if training.insights is not None:
        reporter.send(Insights(epoch=epoch, facts=training.insights))


def tell_profile(reporter: Reporter) -> None:
    child.log.info("wrote %s, %d bytes", PROFILE_FILE, Path(PROFILE_FILE).stat().st_size)
    reporter.send(Kept(role=PROFILE, file=PROFILE_FILE))
