"""The bare loop with MLflow's books: after each epoch its metrics, and a checkpoint as an artifact of the run."""

import json
import sys
from pathlib import Path

import mlflow
import torch

from benchmarks.training.bare import Given, measured


def main() -> None:
    folder = Path.cwd()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.create_experiment("bench", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment("bench")
    given = Given.from_environment()

    def on_epoch(epoch, metrics, module, optimiser):
        mlflow.log_metrics(metrics, step=epoch)
        state = {"module": module.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch}
        checkpoint = folder / f"checkpoint-{epoch:05d}.pt"
        torch.save(state, checkpoint)
        mlflow.log_artifact(str(checkpoint))
        checkpoint.unlink()

    with mlflow.start_run():
        mlflow.log_params({"member": given.member, "epochs": given.epochs, "seed": given.seed})
        found = measured(on_epoch)
    json.dump(found, sys.stdout)


main()
