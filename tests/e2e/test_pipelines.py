"""A pipeline over the whole stack as people submit it: from a file to a version that answers, with nobody between."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import Shell
from tests.house import House, until
from tests.wheels import ROOT

MODEL = "breast-cancer-mlp"
SECONDS = 720.0
SUCCEEDED = {"search", "train", "evaluate", "promote", "deploy", "score"}


@pytest.fixture
def shell(house: House, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"AIMASS_URL": house.stack.info["gateway"], "AIMASS_API_KEY": house.key})


def documented() -> dict[str, Any]:
    """The pipeline that docs/tasks.md says to paste."""
    found = re.search(r"```json\n(\{\"name\": \"nightly\".*?)```", (ROOT / "docs" / "tasks.md").read_text(), re.DOTALL)
    assert found
    definition: dict[str, Any] = json.loads(found[1])
    return definition


def test_the_documented_pipeline_ends_with_a_version_that_answers(house: House, shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "nightly.json"
    file.write_text(json.dumps(documented()))
    *_, last = shell.lines("pipeline", "submit", file, "--follow")
    done = last["pipeline"]
    steps = {step["name"]: step for step in done["steps"]}
    assert {name for name, step in steps.items() if step["state"] == "succeeded"} == SUCCEEDED
    version = steps["train"]["version"]
    assert {steps[name]["version"] for name in ("evaluate", "promote", "deploy", "score")} == {version}
    assert house.get(f"models/{MODEL}")["aliases"]["champion"] == version
    assert house.task(steps["score"]["task_id"])["result"]["rows"] > 0
    chain = house.get("events", correlation_id=done["correlation_id"], follow=False)["events"]
    told = {event["type"].rpartition(".")[2] for event in chain}
    assert {"PipelineSubmitted", "PipelineStepChanged", "PipelineEnded", "VersionPromoted", "TrafficSwitched"} <= told
    children = house.get("tasks", parent=done["id"])["tasks"]
    assert {task["id"] for task in children} == {steps["search"]["task_id"], steps["train"]["task_id"]}


def test_a_pipeline_waits_for_approval_and_is_cloned_and_cancelled(house: House, shell: Shell) -> None:
    steps = [
        {"name": "train", "kind": "train", "model": MODEL, "config": {"epochs": 20, "seed": 3}},
        {"name": "evaluate", "kind": "evaluate", "of": "train", "must_pass": False},
        {"name": "promote", "kind": "promote", "of": "evaluate", "policy": "approval"},
    ]
    made = shell.json("pipeline", "submit", "-", given=json.dumps({"steps": steps}))["id"]

    def waits() -> bool:
        step = shell.json("pipeline", "show", made)["steps"][2]
        return bool(step["note"] == "waits for somebody's approval")

    until(waits, SECONDS, "the approval to be waited for")
    assert made in [found["id"] for found in shell.json("pipeline", "list", "--state", "running")]
    shell.run("pipeline", "approve", made, "train", code=6)
    assert shell.json("pipeline", "approve", made, "promote")["steps"][2]["approved_by"]
    until(lambda: shell.json("pipeline", "show", made)["state"] != "running", SECONDS, "the pipeline to end")
    clone = shell.json("pipeline", "clone", made, "--set", "train.config.epochs=10000", "--name", "long")
    assert clone["steps"][0]["spec"]["config"] == {"epochs": 10000, "seed": 3}
    shell.json("pipeline", "cancel", clone["id"])
    until(lambda: shell.json("pipeline", "show", clone["id"])["state"] == "cancelled", what="the clone to end")


def test_what_is_wrong_is_named_by_its_field(house: House, shell: Shell) -> None:
    train = {"name": "train", "kind": "train", "model": MODEL}
    for steps, words in (
        ([train | {"after": ["trian"]}], "steps[0].after: no step named 'trian'; there are 'train'"),
        ([train, train | {"name": "b", "config": {"epochs": 0}}], "steps[1].config.epochs: "),
        ([train | {"epochs": 3}], "steps[0].epochs: Extra inputs are not permitted"),
    ):
        answer = house.http.post("/api/v1/pipelines", json={"steps": steps})
        assert answer.status_code == 422 and answer.json()["detail"].startswith(words), answer.text
        assert answer.json()["field"] == words.partition(":")[0]
    assert "not JSON" in shell.run("pipeline", "submit", "-", code=2, given="{").stderr
    unknown = "pipeline-01890000-0000-7000-8000-000000000000"
    assert house.http.get(f"/api/v1/pipelines/{unknown}").status_code == 404
    shell.run("pipeline", "show", unknown, code=3)


def test_a_training_is_reproduced_from_the_command_line(shell: Shell) -> None:
    *_, ended, _ = shell.lines("train", MODEL, "--set", "epochs=2", "--place", "local", "--no-promote", "--follow")
    said = shell.run("reproduce", ended["task"]["id"], "--follow").stdout
    assert "same_digest" in said and "yes" in said
    assert "Ray" in shell.run("train", MODEL, "--place", "ray", code=2).stderr
