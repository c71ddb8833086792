"""What TensorBoard's own reader finds in a folder, as JSON: by tag, step, time and value of each scalar."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

found = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0}).Reload()
tags = found.Tags()
shown = {tag: [[e.step, e.wall_time, e.value] for e in found.Scalars(tag)] for tag in tags["scalars"]}
json.dump(shown, sys.stdout)
