"""Software of others on the bus: the examples as a user runs them, and what their user may not do."""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import nats
import pytest

from deploy.embedded.servers import ROOT
from tests.house import House, until
from tests.integration.running import until as eventually


def credentials(house: House) -> Path:
    return house.stack.home.extension_file


def example(name: str, house: House, *arguments: str) -> str:
    command = [sys.executable, "-m", f"examples.{name}", "--credentials", str(credentials(house)), *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_command_from_outside_is_obeyed_once_and_its_events_are_read(house: House) -> None:
    command_id = str(uuid.uuid4())
    for _ in range(2):
        assert example("publish_events", house, "digits-cnn", '{"epochs": 1}', "--id", command_id).strip() == command_id
    mine = until(
        lambda: [found for found in house.get("tasks", limit=1000)["tasks"] if found["correlation_id"] == command_id],
        what="the task to be listed",
    )
    assert len(mine) == 1
    house.http.post(f"/api/v1/tasks/{mine[0]['id']}/cancel")
    read = [json.loads(line) for line in example("read_events", house, "--seconds", "3").splitlines()[:-1]]
    of_mine = [event for event in read if event.get("correlationid") == command_id]
    assert any(event["type"].endswith(".TrainingRequested") for event in of_mine)
    assert all(event["source"] and event["id"] and "data" in event for event in read)
    again = example("read_events", house, "--seconds", "1", "--most", "1000")
    assert not {event["id"] for event in of_mine} & {line["id"] for line in map(json.loads, again.splitlines()[:-1])}


async def test_it_may_do_nothing_else(house: House) -> None:
    given = json.loads(credentials(house).read_text())
    assert credentials(house).stat().st_mode & 0o077 == 0
    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error).lower())

    async def is_refused(what: str) -> None:
        async def said() -> bool:
            return f"nats: permissions violation for {what}".lower() in [found.split(" using ")[0] for found in refused]

        await eventually(said)

    options: dict[str, Any] = {name: given[name] for name in ("user", "password", "inbox_prefix")}
    connection = await nats.connect(given["url"], error_cb=on_error, **options)
    others = ("evt.default.models.v1.version_promoted", "cmd.another.trainer.v1.train_model", "rpc.trainer.submit_task")
    for subject in (*others, "$JS.API.STREAM.DELETE.EVT", "$JS.API.CONSUMER.CREATE.EVT.x", "infer.default.digits-cnn"):
        await connection.publish(subject, b"{}")
        await is_refused(f'publish to "{subject}"')
    for subject in ("evt.>", "log.>", "_INBOX.>", "_INBOX_gateway.>"):
        await connection.subscribe(subject)
        await is_refused(f'subscription to "{subject}"')
    await connection.close()
    with pytest.raises(nats.errors.Error, match="Authorization"):
        await nats.connect(given["url"], user="extension", password="wrong", allow_reconnect=False)
