"""The auditor of a mixed run: at quiescence the client's journal against PostgreSQL, streams and files."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx
import nats
import psycopg
from nats.js.api import ConsumerConfig

from deploy.provision import declarations
from tests import audit
from tests.e2e.deferred import MODEL
from tests.faults.mixed import promises
from tests.faults.mixed.bus import AWAY, POISON, hearers
from tests.faults.mixed.journal import Journal
from tests.faults.mixed.load import TRAINED
from tests.faults.mixed.promises import Told
from tests.house import House

SOURCES = ("auth", "registry", "trainer", "inference", "evaluator", "monitor")
ENDS = {
    **dict.fromkeys(("TrainingCompleted", "TrainingFailed", "TrainingCancelled"), "ended"),
    **dict.fromkeys(("EvaluationCompleted", "EvaluationFailed"), "evaluated"),
}
REQUESTS = "SELECT id, state FROM inferences WHERE state NOT IN ('done', 'failed', 'cancelled') ORDER BY id"
UNPUBLISHED = "SELECT subject, last_error FROM outbox WHERE published_at IS NULL ORDER BY position"
ANSWERS_LOOKED_AT = 100
PAUSE_SECONDS = 3.0


@dataclass
class Streams:
    """What EVT and DLQ hold; `poison` and `dead` are (consumer, message)."""

    known: set[Told] = field(default_factory=set)
    aliases: Counter[str] = field(default_factory=Counter)
    poison: list[tuple[str, str]] = field(default_factory=list)
    dead: list[tuple[str, str]] = field(default_factory=list)


def settle(house: House, journal: Journal, seconds: float, say: Callable[[str], None]) -> list[str]:
    """What is wrong once nothing is in work any more, or still after these seconds."""
    deadline = time.monotonic() + seconds
    wrong, said = ["never looked"], ""
    while wrong and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
        try:
            wrong = unfinished(house) or compare(house, journal)
        except (*AWAY, httpx.HTTPError, psycopg.Error, AssertionError) as error:
            wrong = [f"cannot be looked at: {error!r}"]
        line = f"{len(wrong)} still to settle" + (f", as {wrong[0]}" if wrong else "")
        if line != said:
            say(said := line)
    return wrong


def unfinished(house: House) -> list[str]:
    """What is still in work, with what is known of it: cheap, and asked first."""
    found = [
        f"{owner}'s {row['id']}, {row['state']}, {row['note']}"
        for owner in audit.TASK_OWNERS
        for row in house.rows(owner, "SELECT id, state, note FROM tasks WHERE ended_at IS NULL ORDER BY id")
    ]
    found += [f"request {row['id']}, {row['state']}" for row in house.rows("inference", REQUESTS)]
    found += [
        f"{owner} has not published {row['subject']}, {row['last_error']}"
        for owner in SOURCES
        for row in house.rows(owner, UNPUBLISHED)
    ]
    found += [f"{name} has {count} to hear" for name, count in audit._unheard(house).items()]
    return [f"unfinished: {what}" for what in found]


def compare(house: House, journal: Journal) -> list[str]:
    """Everything that was promised against everything that is there."""
    streams = asyncio.run(_read(house))
    acknowledged: dict[str, dict[str, str]] = {kind: {} for kind in ("defer", "key", "alias", "train")}
    for line in journal.read("acknowledged"):
        acknowledged[line["kind"]][line["name"]] = line["id"]
    return [
        *_submissions(house, acknowledged, streams),
        *_events(house, streams),
        *_trainings(house),
        *_projections(house),
        *_answers(house, acknowledged["defer"]),
        *promises.dead_letters(streams.dead, streams.poison),
    ]


def _submissions(house: House, acknowledged: dict[str, dict[str, str]], streams: Streams) -> list[str]:
    found = {
        "defer": Counter(row["id"] for row in house.rows("inference", "SELECT id FROM inferences")),
        "key": Counter(row["name"] for row in house.rows("auth", "SELECT name FROM api_keys WHERE name LIKE 'key-%'")),
        "train": Counter(row["id"] for row in house.rows("trainer", "SELECT id FROM tasks WHERE kind = 'train'")),
        "alias": streams.aliases,
    }
    asked = {
        "defer": acknowledged["defer"].values(),
        "key": acknowledged["key"],
        "train": acknowledged["train"].values(),
        "alias": acknowledged["alias"],
    }
    pointed = {row["alias"] for row in house.rows("registry", f"SELECT alias FROM aliases WHERE model = '{MODEL}'")}
    lost = [f"lost: alias {name} points nowhere" for name in acknowledged["alias"].keys() - pointed]
    return lost + [wrong for kind, names in asked.items() for wrong in promises.effects(kind, names, found[kind])]


def _events(house: House, streams: Streams) -> list[str]:
    counted = {
        (owner, row["aggregate"].partition("/")[2]): row["sequence"]
        for owner in SOURCES
        for row in house.rows(owner, "SELECT aggregate, sequence FROM aggregates")
        if not row["aggregate"].partition("/")[2].startswith("predictions/")
    }
    wrong = promises.numbers(streams.known, counted) + promises.once_each(streams.known, ENDS)
    for one in declarations():
        if one.service in SOURCES and one.hears:
            types = {event.type_name().rpartition(".")[2] for event in one.hears if event.stream == "EVT"}
            noted = {row["event_id"] for row in house.rows(one.service, "SELECT event_id FROM inbox")}
            wrong += promises.heard(one.service, streams.known, types, noted)
    return wrong


def _trainings(house: House) -> list[str]:
    """One version of each training that succeeded, evaluated once; none of another."""
    tasks = house.rows("trainer", "SELECT id, state FROM tasks WHERE kind = 'train'")
    versions = Counter(
        row["task_id"] for row in house.rows("registry", f"SELECT task_id FROM versions WHERE model = '{TRAINED}'")
    )
    done = [row["id"] for row in tasks if row["state"] == "TASK_STATE_SUCCEEDED"]
    digests = house.rows("registry", "SELECT digest, version FROM evaluations WHERE champion_digest = ''")
    first = Counter((row["version"], row["digest"]) for row in digests)
    wrong = promises.effects("version of task", done, versions)
    twice = [f"version {version} evaluated {times} times" for (version, _), times in first.items() if times > 1]
    return wrong + [f"twice: {what}" for what in twice]


def _projections(house: House) -> list[str]:
    columns = f"SELECT model, version, digest FROM {{}} WHERE model = '{TRAINED}'"
    owned = house.rows("registry", columns.format("versions"))
    dead = sum(audit._count(house, owner, "outbox WHERE dead_at IS NOT NULL") for owner in SOURCES)
    found = {
        "tasks shown otherwise": audit._misprojected_tasks(house),
        "keys known otherwise": asyncio.run(audit._misprojected_keys(house)),
        "versions of evaluator": audit._differences(owned, house.rows("evaluator", columns.format("versions"))),
        "versions of inference": audit._differences(owned, house.rows("inference", columns.format("deployments"))),
        "champions apart": max(0, len(audit._champions(house)) - 1),
        "unsound artifacts": audit._unsound_artifacts(house),
        "dead rows of outboxes": dead,
    }
    return [f"apart: {count} {what}" for what, count in found.items() if count]


def _answers(house: House, acknowledged: dict[str, str]) -> list[str]:
    """Some of the answers that came later, whether they are right; a failure is seen by its state."""
    names = sorted(acknowledged)
    chosen = random.Random(len(names)).sample(names, min(len(names), ANSWERS_LOOKED_AT))
    wrong = []
    for name in chosen:
        answer = house.http.get(f"/api/v1/inferences/{acknowledged[name]}/result")
        expected = [2.0 * int(name.rpartition("-")[2]), 5, -6]
        if answer.is_success and answer.json()["outputs"][0]["data"] != expected:
            wrong.append(f"wrong: the answer of {name} is {answer.text[:200]}")
    return wrong


async def _read(house: House) -> Streams:
    found = Streams()
    declared = declarations()
    connection = await nats.connect(house.stack.info["nats"])
    js = connection.jetstream(timeout=10)
    try:
        poison: dict[str, str] = {}
        for message in await _messages(js, "EVT"):
            headers = message.headers or {}
            if headers.get("Nats-Msg-Id", "").startswith(POISON):
                name = f"EVT-{message.metadata.sequence.stream}"
                poison[name] = message.subject
            elif "ce-id" in headers:
                _note(found, message, headers)
        for message in await _messages(js, "USAGE"):
            _note(found, message, message.headers)
        found.poison = [(consumer, name) for name, subject in poison.items() for consumer in hearers(subject, declared)]
        for message in await _messages(js, "DLQ"):
            headers = message.headers or {}
            consumer = headers["aimass-consumer"]
            found.dead.append((consumer, headers["Nats-Msg-Id"].removeprefix(f"dlq-{consumer}-")))
    finally:
        await connection.close()
    return found


def _note(found: Streams, message: Any, headers: dict[str, str]) -> None:
    kind = headers["ce-type"].rpartition(".")[2]
    event = Told(
        source=headers["ce-source"],
        id=headers["ce-id"],
        type=kind,
        aggregate=unquote(headers["ce-subject"]),
        number=int(headers.get("ce-sequence", 0)),
    )
    if kind == "VersionPromoted" and event not in found.known:
        data = json.loads(message.data)
        found.aliases.update([data["alias"]] if data["model"] == MODEL else [])
    found.known.add(event)


async def _messages(js: Any, stream: str) -> list[Any]:
    """All that the stream holds, in its order."""
    last = (await js.stream_info(stream)).state.messages
    subscription = await js.pull_subscribe("", stream=stream, config=ConsumerConfig(ack_policy="none"))
    found: list[Any] = []
    while len(found) < last:
        found += await subscription.fetch(min(500, last - len(found)), timeout=10)
    await subscription.unsubscribe()
    return found
