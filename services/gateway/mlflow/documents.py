"""The documents of MLflow's protocol, from what trainer tells and to what it is told. Pure."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import Response

from shared.rpc.runs import ExperimentView, Key, LoggedModel, Measured, Moment, RunFile, RunView, Text

STEP = Field(default=0, ge=-(2**63), lt=2**63)


class Given(BaseModel):
    """What a client sends; fields of other versions of the protocol are ignored."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Pair(Given):
    """A tag or a parameter."""

    key: Key
    value: Text = ""


class GivenMetric(Given):
    """One scalar at one step."""

    key: Key
    value: float
    timestamp: Moment = 0
    step: Annotated[int, STEP] = 0
    model_id: Annotated[str, Field(max_length=64)] = ""

    def measured(self) -> Measured:
        return Measured(name=self.key, value=self.value, step=self.step, at=self.timestamp, model=self.model_id)


def texts(pairs: Iterable[Pair]) -> dict[str, str]:
    return {pair.key: pair.value for pair in pairs}


def answer(document: dict[str, Any]) -> Response:
    """Numbers that JSON does not know are texts, as in proto3."""
    return Response(to_json(document, inf_nan_mode="strings"), media_type="application/json")


def pairs(known: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in known.items()]


def experiment(known: ExperimentView) -> dict[str, Any]:
    return {
        "experiment_id": known.id,
        "name": known.name,
        "artifact_location": f"mlflow-artifacts:/{known.id}",
        "lifecycle_stage": known.lifecycle,
        "creation_time": known.created_at,
        "last_update_time": known.updated_at,
        "tags": pairs(known.tags),
    }


def metric(known: Measured) -> dict[str, Any]:
    return {"key": known.name, "value": known.value, "timestamp": known.at, "step": known.step}


def run_info(known: RunView) -> dict[str, Any]:
    info = {
        "run_id": known.id,
        "run_uuid": known.id,
        "run_name": known.name,
        "experiment_id": known.experiment,
        "user_id": known.user,
        "status": known.status,
        "start_time": known.started_at,
        "artifact_uri": f"mlflow-artifacts:/{known.experiment}/{known.id}/artifacts",
        "lifecycle_stage": known.lifecycle,
    }
    return info if known.ended_at is None else info | {"end_time": known.ended_at}


def run(known: RunView) -> dict[str, Any]:
    tags = known.tags | {"mlflow.runName": known.name}
    data = {"params": pairs(known.parameters), "tags": pairs(tags), "metrics": [metric(m) for m in known.metrics]}
    datasets = [given for given in known.inputs if "dataset" in given]
    models = [given for given in known.inputs if "model_id" in given]
    return {
        "info": run_info(known),
        "data": data,
        "inputs": {"dataset_inputs": datasets, "model_inputs": models},
        "outputs": {"model_outputs": known.outputs},
    }


def logged_model(known: LoggedModel) -> dict[str, Any]:
    info = {
        "model_id": known.id,
        "experiment_id": known.experiment,
        "name": known.name,
        "creation_timestamp_ms": known.created_at,
        "last_updated_timestamp_ms": known.updated_at,
        "artifact_uri": f"mlflow-artifacts:/{known.experiment}/models/{known.id}/artifacts",
        "status": known.status,
        "model_type": known.model_type,
        "source_run_id": known.run,
        "tags": pairs(known.tags),
    }
    metrics = [metric(m) | {"model_id": known.id, "run_id": known.run} for m in known.metrics]
    return {"model": {"info": info, "data": {"params": pairs(known.params), "metrics": metrics}}}


def file(known: RunFile, below: str) -> dict[str, Any]:
    """A file with its size, or a folder, by its path below the root of what was asked."""
    named = {"path": f"{below}/{known.name}" if below else known.name, "is_dir": known.size is None}
    return named if known.size is None else named | {"file_size": known.size}


def paged(document: dict[str, Any], after: int | None) -> dict[str, Any]:
    return document if after is None else document | {"next_page_token": str(after)}
