"""What is used is counted exactly: by a real gateway, over its death, and however often its words are heard."""

import csv
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import aimass
import httpx
import nats as nats_client
import pytest

from deploy.embedded.ports import free_port
from deploy.embedded.testing_servers import NatsServer
from deploy.provision import declarations, provision_bus_over
from shared.credentials import Credential, credential_subject, key_digest
from shared.events.common import TaskState
from shared.events.quotas import QuotaExceeded, QuotaNearing
from shared.events.tasks import TaskChanged
from shared.events.usage import UsageCount, UsageCounted
from shared.permissions import Role
from shared.quotas import ProjectState, quota_name
from shared.rpc.usage import (
    CheckTaskQuota,
    GetInvoice,
    GetUsage,
    Invoice,
    Limit,
    SetPrices,
    SetQuotas,
    UsageList,
)
from tests.integration.gateway_neighbours import Neighbours, bearer
from tests.integration.running import Ask, Running, until

KEY = "aim_" + "7" * 64
BODY = {"inputs": [{"name": "pixels", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
DAY = date(2030, 1, 15)


@pytest.fixture
def nats(guarded_nats: NatsServer) -> NatsServer:
    return guarded_nats


class Process:
    """A gateway as a process of its own, which can be killed."""

    def __init__(self, nats: NatsServer, folder: Path) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        settings = {"NATS_URL": nats.servers, "NATS_USER": "gateway", "NATS_PASSWORD": "password"}
        settings |= {"PORT": str(self._port), "HOME_DIR": str(folder), "USAGE_SECONDS": "0.3"}
        settings |= {"ARTIFACTS_URL": (folder / "artifacts").as_uri()}
        self._environment = os.environ | {f"GATEWAY_{name}": value for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, http: httpx.AsyncClient) -> None:
        command = [sys.executable, "-m", "services.gateway"]
        self._process = subprocess.Popen(command, env=self._environment)

        async def lets_in() -> bool:
            try:
                return (await http.get(f"{self.url}/v2", headers=bearer(KEY))).status_code == 200
            except httpx.TransportError:
                return False

        await until(lets_in)

    def end(self, how: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(how)
        self._process.wait(30)


@pytest.fixture
async def gateway(monitor: Running, nats: NatsServer, tmp_path: Path) -> AsyncIterator[Process]:
    await provision_bus_over(nats.url, declarations())
    connection = await nats_client.connect(nats.url)
    credential = Credential(key_id="ada", name="n", roles=(Role.ADMIN,)).model_dump_json().encode()
    await connection.jetstream().publish(credential_subject(key_digest(KEY)), credential)
    neighbours = Neighbours(connection)
    await neighbours.listen(("registry", "inference"))
    await neighbours.serve("digits-cnn")
    process = Process(nats, tmp_path)
    yield process
    process.end(signal.SIGKILL)
    await connection.close()


async def infer(http: httpx.AsyncClient, gateway: Process, times: int, model: str = "digits-cnn") -> int:
    for _ in range(times):
        reply = await http.post(f"{gateway.url}/v2/models/{model}/infer", json=BODY, headers=bearer(KEY))
    return reply.status_code


async def inferred(ask: Ask, *group: Any, **given: Any) -> list[dict[str, Any]]:
    today = datetime.now(UTC).date()
    days = {"kind": "infer", "since": today - timedelta(days=1), "until": today}  # a test may run over midnight
    found: UsageList = await ask(GetUsage(group=group, **days | given))
    return [row.model_dump(exclude_none=True) for row in found.rows]


async def counts(ask: Ask, requests: int) -> bool:
    async def is_so() -> bool:
        found = await inferred(ask)
        return bool(found) and found[0]["requests"] == requests

    return bool(await until(is_so))


async def test_what_a_client_counts_is_what_is_counted(gateway: Process, monitor: Running, ask: Ask) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        await gateway.start(http)
        assert await infer(http, gateway, 40) == 200
        assert await counts(ask, 40)
        gateway.end(signal.SIGKILL)
        await gateway.start(http)
        assert await infer(http, gateway, 25) == 200
        assert await infer(http, gateway, 3, "unheard-of") >= 400
        gateway.end(signal.SIGTERM)
        assert await counts(ask, 68)
        await gateway.start(http)
        assert await infer(http, gateway, 2) == 200
        assert await counts(ask, 70)
    [total] = await inferred(ask)
    by_model = await inferred(ask, "project", "identity", "model")
    assert (total["requests"], total["errors"]) == (70, 3)
    assert {(row["project"], row["identity"]) for row in by_model} == {("default", "ada")}
    assert sum(row["requests"] for row in by_model if row["model"] == "digits-cnn") == 67
    assert sum(row["input_bytes"] for row in by_model if row["model"] == "digits-cnn") == 67 * len(
        httpx.Request("POST", "http://x", json=BODY).content
    )
    assert total["compute_seconds"] > 0 and total["output_bytes"] > 0
    await heard_again(monitor)
    assert await inferred(ask, "project", "identity", "model") == by_model


async def heard_again(monitor: Running) -> None:
    """All that the stream of usage holds is said once more, in another order, by other ids."""
    state = (await monitor.js.stream_info("USAGE")).state
    held = [await monitor.js.get_msg("USAGE", number) for number in range(state.first_seq, state.last_seq + 1)]
    for message in random.sample(held * 2, len(held) * 2):
        await monitor.publish(UsageCounted.model_validate_json(message.data or b""))
    await monitor.settled()
    assert await monitor.dead_letters() == 0


async def test_counters_of_runs_add_up_and_never_fall(monitor: Running, ask: Ask) -> None:
    truth = 0
    said = []
    for run in ("a", "b", "c"):
        counter = 0
        for _ in range(6):
            counter += random.randint(1, 9)
            counts = (UsageCount(identity="k", model="m", kind="infer", requests=counter, compute_us=counter),)
            said.append(UsageCounted(run=run, service="gateway", day=DAY.isoformat(), counts=counts))
        truth += counter
    random.shuffle(said)
    for event in said + random.sample(said, 9):
        await monitor.publish(event, project="p")
    await monitor.settled()
    [row] = await inferred(ask, "project", of="*", since=DAY, until=DAY)
    assert (row["project"], row["requests"], row["compute_seconds"]) == ("p", truth, Decimal(truth) / 10**6)
    assert await inferred(ask, "project", since=DAY, until=DAY) == []


async def test_a_task_uses_the_time_that_its_attempts_ran(monitor: Running, ask: Ask) -> None:
    """Over midnight, with a pause between: 10 minutes before it, 5 after it, and 30 of the second attempt."""
    start = datetime.now(UTC).replace(hour=23, minute=50, second=0, microsecond=0) - timedelta(days=3)
    told = [
        (0, 1, TaskState.RUNNING),
        (7, 1, TaskState.RUNNING),
        (15, 1, TaskState.PAUSED),
        (40, 1, TaskState.QUEUED),
        (60, 2, TaskState.RUNNING),
        (90, 2, TaskState.SUCCEEDED),
    ]
    changes = [
        (start + timedelta(minutes=minute), number + 1, attempt, state)
        for number, (minute, attempt, state) in enumerate(told)
    ]
    for at, number, attempt, state in random.sample(changes * 2, len(changes) * 2):
        event = TaskChanged(task_id="train-1", kind="train", model="cnn", actor="ada", attempt=attempt, state=state)
        await monitor.publish(event, time=at.isoformat(), sequence=number)
    await monitor.settled()
    first = start.date()
    found = await inferred(ask, "day", "identity", kind="train", since=first, until=first + timedelta(days=1))
    seconds = {row["day"]: (row["requests"], row["compute_seconds"]) for row in found}
    assert seconds == {first: (1, Decimal(600)), first + timedelta(days=1): (1, Decimal(2100))}


async def test_an_invoice_has_the_prices_of_each_day(monitor: Running, ask: Ask) -> None:
    today = datetime.now(UTC).date()
    prices = {"infer_request": "0.0000015", "infer_second": "0.01"}
    await ask(SetPrices(valid_from=today, currency="EUR", prices=prices))
    counts = (UsageCount(identity="k", model="m", kind="infer", requests=1_000_001, compute_us=2_500_000),)
    await monitor.publish(UsageCounted(run="r", day=today.isoformat(), counts=counts))
    await monitor.settled()
    found: Invoice = await ask(GetInvoice(month=f"{today:%Y-%m}"))
    assert [(line.unit, line.amount) for line in found.lines] == [
        ("infer_request", Decimal("1.5000015")),
        ("infer_second", Decimal("0.025")),
    ]
    assert (found.total, found.currency) == (Decimal("1.53"), "EUR")


async def test_a_quota_refuses_when_it_is_used_up_and_says_so_before(
    gateway: Process, monitor: Running, ask: Ask
) -> None:
    requests = Limit(quota="requests_per_month", soft=5, hard=10)
    await ask(SetQuotas(of="default", limits=(requests,)))
    async with httpx.AsyncClient(timeout=60) as http:
        await gateway.start(http)
        assert await infer(http, gateway, 6) == 200
        await until(partial(monitor.rows, "SELECT 1 FROM quota_states WHERE level = 1"))
        assert await infer(http, gateway, 4) == 200

        async def is_refused() -> bool:
            return await infer(http, gateway, 1) == 429

        await until(is_refused)
        reply = await http.post(f"{gateway.url}/v2/models/digits-cnn/infer", json=BODY, headers=bearer(KEY))
        assert "requests_per_month" in reply.json()["error"] and int(reply.headers["retry-after"]) > 0
        assert (await http.get(f"{gateway.url}/v2", headers=bearer(KEY))).status_code == 200
        await ask(SetQuotas(of="default", limits=(requests.model_copy(update={"hard": 10_000}),)))

        async def is_let_in() -> bool:
            return await infer(http, gateway, 1) == 200

        await until(is_let_in)
    said = await monitor.said(QuotaNearing, QuotaExceeded)
    assert [type(event) for event in said[:2]] == [QuotaNearing, QuotaExceeded]
    assert said[0].used >= 5 and said[0].limit == 5 and said[1].used >= 10 and said[1].limit == 10
    assert await gateway_entry(monitor) is None


async def gateway_entry(monitor: Running) -> ProjectState | None:
    message = await monitor.js.get_last_msg("KV_credentials", credential_subject(quota_name("default")))
    return ProjectState.model_validate_json(message.data) if message.data else None


async def test_tasks_are_refused_over_their_quota(monitor: Running, ask: Ask) -> None:
    await ask(SetQuotas(of="default", limits=(Limit(quota="concurrent_tasks", hard=1),)))
    assert (await ask(CheckTaskQuota(kind="train"))).allowed
    now = datetime.now(UTC)
    task = TaskChanged(task_id="train-1", kind="train", attempt=1, state=TaskState.RUNNING, created_at=now)
    await monitor.publish(task, sequence=1)
    await monitor.settled()
    verdict = await ask(CheckTaskQuota(kind="train"))
    assert not verdict.allowed and "concurrent_tasks" in verdict.reason and "wait until some" in verdict.reason
    assert (await ask(CheckTaskQuota(kind="train"), project="other")).allowed
    await monitor.publish(task.model_copy(update={"state": TaskState.SUCCEEDED}), sequence=2)
    await monitor.settled()
    assert (await ask(CheckTaskQuota(kind="train"))).allowed


async def test_training_minutes_are_a_quota(monitor: Running, ask: Ask) -> None:
    await ask(SetQuotas(of="default", limits=(Limit(quota="training_minutes_per_month", hard=1),)))
    start = datetime.now(UTC) - timedelta(seconds=61)
    task = TaskChanged(task_id="train-1", kind="train", attempt=1, state=TaskState.RUNNING)
    await monitor.publish(task, sequence=1, time=start.isoformat())
    await monitor.publish(task.model_copy(update={"state": TaskState.SUCCEEDED}), sequence=2)
    await monitor.settled()
    verdict = await ask(CheckTaskQuota(kind="train"))
    if start.month == datetime.now(UTC).month:  # else a part of it lies in the month before
        assert not verdict.allowed and verdict.retry_after > 0
    assert (await ask(CheckTaskQuota(kind="evaluate"))).allowed


async def test_over_http_by_the_client_and_as_a_table(gateway: Process, monitor: Running) -> None:
    today = datetime.now(UTC).date().isoformat()
    async with httpx.AsyncClient(timeout=60) as http, aimass.AsyncClient(gateway.url, KEY) as client:
        await gateway.start(http)
        assert await infer(http, gateway, 20) == 200

        async def is_counted() -> list[Any]:
            found = await client.usage(group=["kind", "model", "identity"], kind="infer")
            return found if found and found[0]["requests"] == 20 else []

        [row] = await until(is_counted)
        assert (row["model"], row["identity"], row["errors"]) == ("digits-cnn", "ada", 0)
        await client.set_prices(today, "EUR", {"infer_request": "0.000000001", "api_request": "0"})
        invoice = await client.invoice()
        line = next(line for line in invoice["lines"] if line["unit"] == "infer_request")
        assert (line["quantity"], line["price"], line["amount"]) == ("20", "0.000000001", "0.000000020")
        assert (invoice["total"], (await client.prices())[0]["valid_from"]) == ("0.00", today)
        await client.set_quotas("default", [{"quota": "requests_per_day", "soft": 10, "hard": 1000}])
        [quota] = await client.quotas()
        assert (quota["used"], quota["level"]) == (20, "nearing")
        given: dict[str, Any] = {"params": {"group": ["kind", "requests"]}, "headers": bearer(KEY)}
        assert (await http.get(f"{gateway.url}/api/v1/usage.csv", **given)).status_code == 422
        given["params"] = {"group": "kind"}
        table = await http.get(f"{gateway.url}/api/v1/usage.csv", **given)
        assert table.headers["content-type"].startswith("text/csv")
        rows = {row["kind"]: row for row in csv.DictReader(table.text.splitlines())}
        assert rows["infer"]["requests"] == "20" and int(rows["api"]["requests"]) > 0
        given["headers"] |= {"Accept": "text/csv"}
        assert (await http.get(f"{gateway.url}/api/v1/usage", **given)).text.startswith("kind,requests,")
        with pytest.raises(aimass.Invalid, match="today or later"):
            await client.set_prices("2020-01-01", "EUR", {})
        with pytest.raises(aimass.Invalid, match="before the first"):
            await client.usage(since="2030-01-02", until="2030-01-01")


async def test_other_projects_are_for_administrators_of_the_platform(gateway: Process, monitor: Running) -> None:
    connection = await nats_client.connect(monitor.server.url)
    other = "aim_" + "8" * 64
    credential = Credential(key_id="eve", name="n", roles=(Role.ADMIN,), project="other").model_dump_json().encode()
    await connection.jetstream().publish(credential_subject(key_digest(other)), credential)
    await connection.close()
    async with httpx.AsyncClient(timeout=60) as http, aimass.AsyncClient(gateway.url, other) as client:
        await gateway.start(http)
        await client.usage()
        for refused in (
            client.usage(project="default"),
            client.usage(project="*"),
            client.invoice(project="default"),
            client.quotas(project="default"),
            client.set_quotas("other", []),
            client.set_prices("2098-01-01", "EUR", {}),
        ):
            with pytest.raises(aimass.Forbidden):
                await refused
    async with aimass.AsyncClient(gateway.url, KEY) as client:

        async def is_told() -> bool:
            return "other" in {row["project"] for row in await client.usage(project="*", group=["project"])}

        await until(is_told)
