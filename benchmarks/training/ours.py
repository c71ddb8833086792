"""The loop of a training task in its own process: metrics, checkpoints, progress and reports, as the service asks."""

import json
import os
import sys

import library
from benchmarks.training.bare import Given, processor_seconds, told
from services.trainer.engine import TrainingSpec, begin, run
from services.trainer.pace import Pace
from shared.worker import Reporter


def main() -> None:
    given = Given.from_environment()
    model = library.model(given.member)
    config = model.validate({"epochs": given.epochs})
    files = {part: f"{given.folder}/{part}.npz" for part in ("train", "validation")}
    spec = TrainingSpec(task_id="bench", model=given.member, config=config.model_dump(), seed=given.seed, **files)
    reporter = Reporter(os.open(os.devnull, os.O_WRONLY))
    with Pace(reporter) as pace:
        training = begin(spec, model, config)
        began = processor_seconds()
        pace.begin(training.steps_done, config.epochs * training.steps_per_epoch)
        run(training, config, spec, pace, reporter)
        seconds = processor_seconds() - began
    json.dump(told(seconds, training.module), sys.stdout)


if __name__ == "__main__":
    main()
