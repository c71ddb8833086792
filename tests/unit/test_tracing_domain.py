"""How what happened hangs together: pipelines, circles, and ids that people write in several ways."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.monitor.tracing.domain import Known, thing_of, trace_of, version_of
from shared.rpc.monitor import TimelineEntry
from shared.rpc.tasks import TaskView

START = datetime(2026, 1, 2, tzinfo=UTC)
CHAIN = "019ac8f0-0c25-7429-a133-326f2a9374d8"
PIPELINE, STUDY, TRAIN = (f"{kind}-{CHAIN}" for kind in ("pipeline", "tune", "train"))


def event(number: int, kind: str, subject: str, cause: str = "", **data: Any) -> TimelineEntry:
    given = {"id": f"e{number}", "type": f"aimass.x.v1.{kind}", "source": "s", "sequence": 1, "position": number}
    at = START + timedelta(seconds=number)
    return TimelineEntry(**given, subject=subject, at=at, causation_id=cause, data=data)


def task(name: str, parent: str = "") -> TaskView:
    kind = name.partition("-")[0]
    return TaskView(id=name, project="p", kind=kind, model="m", state="running", parent=parent, created_at=START)


def shown(known: Known) -> list[tuple[int, str]]:
    return [(node.depth, node.id) for node in trace_of("", known, False).nodes]


def test_a_pipelines_tasks_hang_from_it() -> None:
    events = [
        event(1, "PipelineSubmitted", f"pipelines/{PIPELINE}"),
        event(2, "PipelineStepChanged", f"pipelines/{PIPELINE}", task_id=TRAIN),
        event(3, "TrainingRequested", f"training/{TRAIN}"),
    ]
    found = shown(Known(events, [task(TRAIN)]))
    assert found == [(0, PIPELINE), (1, TRAIN), (2, "e3"), (1, "e1"), (1, "e2")]


def test_a_studys_trials_hang_from_it() -> None:
    found = shown(Known([event(1, "TrainingStarted", f"training/{TRAIN}")], [task(STUDY), task(TRAIN, STUDY)]))
    assert found == [(0, STUDY), (1, TRAIN), (2, "e1")]


def test_a_circle_is_shown_once() -> None:
    events = [event(1, "A", "models/a", "e2"), event(2, "B", "models/a", "e1"), event(3, "C", "models/a", "unknown")]
    assert shown(Known(events)) == [(0, "e3"), (0, "e1"), (1, "e2")]


def test_many_alike_are_one_but_not_what_was_asked_for_or_caused_something() -> None:
    events = [event(number, "EpochCompleted", "training/t") for number in range(5)]
    counts = [(node.id, node.count) for node in trace_of("e2", Known(events), False).nodes]
    assert counts == [("t", 1), ("e0", 1), ("e1", 1), ("e2", 1), ("e3", 1), ("e4", 1)]
    assert [(n.id, n.count) for n in trace_of("", Known(events), False).nodes] == [("t", 1), ("e0", 5)]


@pytest.mark.parametrize("name", ["cnn/3", "cnn@3", "cnn:3", "models/cnn/3", "deployment/cnn/3", "default.cnn.3"])
def test_versions_are_written_in_several_ways(name: str) -> None:
    assert version_of(name) == ("cnn", 3)


@pytest.mark.parametrize("name", ["cnn", "cnn/0", "cnn/03", "a/b/3", CHAIN, TRAIN, "", "CNN/3", "cnn/3\n"])
def test_other_texts_are_no_versions(name: str) -> None:
    assert version_of(name) is None


def test_kinds_of_ids() -> None:
    assert (thing_of(TRAIN), thing_of(PIPELINE), thing_of(CHAIN), thing_of("train-1")) == (
        "train",
        "pipeline",
        "",
        "",
    )
