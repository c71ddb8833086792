"""The audit: what the main job left behind, counted over all services, their database, bus and artifacts."""

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nats

from shared.streams import CREDENTIALS
from shared.tokens import signing_key_name, user_name
from tests.house import House

MODEL = "digits-cnn"
OWNERS = ("auth", "registry", "trainer", "inference", "evaluator", "monitor")
TASK_OWNERS = ("trainer", "evaluator")
ONCE = (
    "TrainingRequested",
    "TrainingCompleted",
    "VersionRegistered",
    "DeploymentStaged",
    "EvaluationRequested",
    "EvaluationCompleted",
    "VersionPromoted",
    "TrafficSwitched",
)
NEVER = ("TrainingFailed", "TrainingCancelled", "EvaluationFailed", "DeploymentFailed", "PromotionRefused")


@dataclass(frozen=True)
class Outcome:
    """Equal for an undisturbed and a disturbed run.

    `chain` counts the events under the task's correlation id; what is named un-, mis- or -less is a count of faults.
    """

    task: str
    epochs: bool
    chain: dict[str, int]
    versions: int
    models: int
    evaluations: int
    passed: int
    champion: bool
    live: int
    answered: int
    unended_tasks: int
    misprojected_tasks: int
    misprojected_versions: int
    misprojected_keys: int
    unsound_artifacts: int
    dead_letters: int
    unpublished: int
    unhandled: int


UNDISTURBED = Outcome(
    task="succeeded",
    epochs=True,
    chain={**dict.fromkeys(ONCE, 1), **dict.fromkeys(NEVER, 0)},
    versions=1,
    models=1,
    evaluations=1,
    passed=1,
    champion=True,
    live=1,
    answered=200,
    unended_tasks=0,
    misprojected_tasks=0,
    misprojected_versions=0,
    misprojected_keys=0,
    unsound_artifacts=0,
    dead_letters=0,
    unpublished=0,
    unhandled=0,
)


def audit(house: House, task_id: str) -> Outcome:
    """Count the effects of one training task, the newest one, over all services."""
    task = house.task(task_id)
    events = house.get("events", correlation_id=task["correlation_id"], follow="false")["events"]
    versions = house.rows("registry", f"SELECT * FROM versions WHERE task_id = '{task_id}'")
    evaluations = _evaluations(house, versions)
    serving = house.rows("inference", "SELECT version FROM deployments WHERE state = 'serving'")
    return Outcome(
        task=task["state"],
        epochs=_epochs(events) == list(range(1, task["parameters"]["epochs"] + 1)),
        chain=_chain(events),
        versions=len(versions),
        models=_models(house, task_id),
        evaluations=len(evaluations),
        passed=sum(bool(evaluation["passed"]) for evaluation in evaluations),
        champion=_champions(house) == {version["version"] for version in versions},
        live=len(serving),
        answered=_ask(house),
        unended_tasks=_unended(house),
        misprojected_tasks=_misprojected_tasks(house),
        misprojected_versions=_misprojected_versions(house),
        misprojected_keys=asyncio.run(_misprojected_keys(house)),
        unsound_artifacts=_unsound_artifacts(house),
        dead_letters=_stream(house, "DLQ")["state"]["messages"],
        unpublished=sum(_count(house, owner, "outbox WHERE published_at IS NULL") for owner in OWNERS),
        unhandled=sum(_unheard(house).values()),
    )


def _count(house: House, schema: str, what: str) -> int:
    return int(house.rows(schema, f"SELECT count(*) AS found FROM {what}")[0]["found"])


def _name(event: dict[str, Any]) -> str:
    return str(event["type"]).rpartition(".")[2]


def _chain(events: list[dict[str, Any]]) -> dict[str, int]:
    told = Counter(map(_name, events))
    return {name: told[name] for name in (*ONCE, *NEVER)}


def _epochs(events: list[dict[str, Any]]) -> list[int]:
    """Each epoch as often as it was told."""
    return sorted(event["data"]["epoch"] for event in events if _name(event) == "EpochCompleted")


def _evaluations(house: House, versions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    numbers = {version["version"] for version in versions}
    return [e for e in house.get("evaluations", model=MODEL)["evaluations"] if e["version"] in numbers]


def _models(house: House, task_id: str) -> int:
    """How many different files came of the very same parameters and seed."""
    same = f"(SELECT parameters FROM versions WHERE task_id = '{task_id}')"
    found = house.rows("registry", f"SELECT DISTINCT digest FROM versions WHERE parameters IN {same}")
    return len(found)


def _champions(house: House) -> set[int]:
    """The champion as its owner and everyone who follows it knows it."""
    return {
        row["version"]
        for schema, query in {
            "registry": "SELECT version FROM aliases WHERE alias = 'champion'",
            "evaluator": "SELECT version FROM champions",
            "inference": "SELECT version FROM routes",
        }.items()
        for row in house.rows(schema, query)
    }


def _ask(house: House) -> int:
    """The status of one prediction of the champion."""
    inputs = [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.5] * 64}]
    return house.http.post(f"/v2/models/{MODEL}/infer", json={"inputs": inputs}).status_code


def _unended(house: House) -> int:
    return sum(_count(house, owner, "tasks WHERE ended_at IS NULL") for owner in TASK_OWNERS)


def _misprojected_tasks(house: House) -> int:
    """Tasks that monitor shows otherwise than their owners do, lacks or has made up."""
    own = "id, model, lower(replace(state, 'TASK_STATE_', '')) AS state, fence AS attempt"
    facts = "progress, note, error_class, error_message, result, ended_at"
    owned = [row for owner in TASK_OWNERS for row in house.rows(owner, f"SELECT {own}, {facts} FROM tasks")]
    shown = house.rows("monitor", f"SELECT id, model, state, attempt, {facts} FROM task_list")
    return _differences(owned, shown)


def _misprojected_versions(house: House) -> int:
    """Versions that inference or evaluator know otherwise than registry does."""
    columns = "SELECT model, version, digest, signature FROM"
    owned = house.rows("registry", f"{columns} versions")
    followers = {"evaluator": "versions", "inference": "deployments"}
    return sum(_differences(owned, house.rows(schema, f"{columns} {table}")) for schema, table in followers.items())


def _differences(owned: list[dict[str, Any]], shown: list[dict[str, Any]]) -> int:
    left, right = Counter(map(repr, owned)), Counter(map(repr, shown))
    return ((left - right) + (right - left)).total()


async def _misprojected_keys(house: House) -> int:
    """API keys, users and keys of tokens in force that the gateways' bucket lacks, and what it has beyond these."""
    connection = await nats.connect(house.stack.info["nats"])
    try:
        bucket = await connection.jetstream().key_value(CREDENTIALS)
        try:
            known = set(await bucket.keys())
        except nats.js.errors.NoKeysError:
            known = set()
    finally:
        await connection.close()
    active = {row["digest"] for row in house.rows("auth", "SELECT digest FROM api_keys WHERE revoked_at IS NULL")}
    active |= {user_name(row["id"]) for row in house.rows("auth", "SELECT id FROM users WHERE disabled_at IS NULL")}
    active |= {signing_key_name(row["kid"]) for row in house.rows("auth", "SELECT kid FROM signing_keys")}
    return len(known ^ active)


def _unsound_artifacts(house: House) -> int:
    """Artifacts that a row names and that are missing, or are not what their names say."""
    named = {row["digest"] for row in house.rows("registry", "SELECT digest FROM versions")}
    for row in house.rows("registry", "SELECT parts FROM datasets"):
        named |= set(row["parts"].values())
    for owner in TASK_OWNERS:
        named |= {row["digest"] for row in house.rows(owner, "SELECT digest FROM task_files")}
    folder = house.stack.home.folder("artifacts")
    return sum(not _is_sound(folder / digest) for digest in named)


def _is_sound(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def _streams(house: House) -> list[dict[str, Any]]:
    """Streams and consumers, by the bus's own monitoring."""
    port = house.stack.plan.ports["nats-monitor"]
    found = httpx.get(f"http://127.0.0.1:{port}/jsz?consumers=true", timeout=5).json()
    streams: list[dict[str, Any]] = found["account_details"][0]["stream_detail"]
    return streams


def _stream(house: House, name: str) -> dict[str, Any]:
    return next(stream for stream in _streams(house) if stream["name"] == name)


def _unheard(house: House) -> dict[str, int]:
    """Messages that a service has still to hear or to acknowledge, by stream and consumer."""
    found = {
        f"{stream['name']}/{consumer['name']}": consumer.get("num_pending", 0) + consumer.get("num_ack_pending", 0)
        for stream in _streams(house)
        for consumer in stream.get("consumer_detail", ())
        if consumer["name"] in OWNERS
    }
    return {name: count for name, count in found.items() if count}
