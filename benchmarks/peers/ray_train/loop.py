"""The bare loop as Ray Train runs it, with one worker: after each epoch a report of its metrics and its checkpoint."""

import json
import os
import sys
import tempfile
from pathlib import Path

import ray
import torch
from ray import train
from ray.train.torch import TorchTrainer

ANSWER = Path.cwd() / "answer.json"


def loop(settings):
    os.environ.update(settings)
    from benchmarks.training.bare import measured

    def on_epoch(epoch, metrics, module, optimiser):
        with tempfile.TemporaryDirectory() as folder:
            state = {"module": module.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch}
            torch.save(state, Path(folder) / "checkpoint.pt")
            train.report(metrics, checkpoint=train.Checkpoint.from_directory(folder))

    ANSWER.write_text(json.dumps(measured(on_epoch)))


def main():
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=os.environ["BENCH_SHORT"],
    )
    trainer = TorchTrainer(
        loop,
        train_loop_config={"BENCH_TRAINING": os.environ["BENCH_TRAINING"]},
        scaling_config=train.ScalingConfig(num_workers=1, use_gpu=False),
        run_config=train.RunConfig(
            storage_path=str(Path.cwd()), name="bench", checkpoint_config=train.CheckpointConfig(num_to_keep=1)
        ),
    )
    trainer.fit()
    ray.shutdown()
    sys.stdout.write(ANSWER.read_text())


main()
