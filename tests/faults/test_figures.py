"""How long what breaks holds up, printed as figures: a dead worker, a killed bus, five minutes without, restarts.

Slow, as they wait for what passes, and the figures are of the machine that they are measured on.
"""

import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from aimass import Client

from deploy.embedded.stack import Stack
from shared.streams import SERVICES
from tests.audit import UNDISTURBED
from tests.e2e.deferred import JSON_BODY, PATH, bring_model
from tests.faults.job import settled
from tests.house import House, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SEED = 20261128
LEASE_SECONDS, ALLOWED_SECONDS = 15.0, 1.0
KILLS, PUBLISHING_SECONDS = 20, 2.0
AWAY_SECONDS, REFUSED_SECONDS = 300.0, 1.0
RESTARTS, RETRIES, CALL_SECONDS = 100, 12, 60.0
OUTAGE_SECONDS = 60.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A stack of its own with its usual settings."""
    stack = Stack(tmp_path_factory.mktemp("figures"))
    try:
        stack.up()
        yield House(stack)
    finally:
        stack.down()


def row(house: House, task: str) -> dict[str, Any]:
    return house.rows("trainer", f"SELECT fence, state, progress FROM tasks WHERE id = '{task}'")[0]


def running(house: House, key: str, epochs: int) -> str:
    """A training within its epochs."""
    task = house.train(key, epochs=epochs, seed=1)
    until(lambda: row(house, task)["progress"] > 0, what="an epoch")
    return task


def cancelled(house: House, task: str) -> None:
    house.http.post(f"/api/v1/tasks/{task}/cancel")
    house.wait_task(task)


def test_the_task_of_a_dead_worker_is_taken_over_within_its_lease(house: House) -> None:
    """Killed with its whole process; the one that the process manager starts in its place knows nothing of it."""
    task = running(house, "taken-over", 5000)
    found = []
    for _ in range(3):
        fence = row(house, task)["fence"]
        house.stack.kill("trainer")
        killed = time.monotonic()
        until(lambda held=fence: row(house, task)["fence"] > held, what="another to take over")
        found.append(time.monotonic() - killed)
        until(lambda: house.stack.is_ready("trainer"), what="the trainer")
        time.sleep(LEASE_SECONDS / 3)
    cancelled(house, task)
    print(f"taken over {', '.join(f'{seconds:.1f}' for seconds in found)} s after the kill, lease {LEASE_SECONDS:g} s")
    assert max(found) <= LEASE_SECONDS + ALLOWED_SECONDS


def test_after_a_kill_of_the_bus_publishing_goes_on(house: House) -> None:
    """From the kill until an event that was committed after it is on the bus; the process manager starts it again."""
    found = []
    for number in range(KILLS):
        house.stack.kill("nats")
        killed = time.monotonic()
        until(lambda: house.stack.is_ready("nats"), what="the bus")
        ready = time.monotonic()
        name = f"after-kill-{number}"
        until(lambda name=name: _made(house, name), what="a key")
        found.append((ready - killed, time.monotonic() - killed))
        house.stack.wait_ready()
        time.sleep(2.5)  # the process manager starts a part at most so often
    back, publishing = zip(*found, strict=True)
    print(f"the bus was back {statistics.median(back):.2f} s after its kill, at most {max(back):.2f} s")
    print(f"published again {statistics.median(publishing):.2f} s after the kill, at most {max(publishing):.2f} s")
    assert max(publishing) < PUBLISHING_SECONDS


def _made(house: House, name: str) -> bool:
    """Whether a key was made, and the bus has the event that says so: the answer comes after it."""
    response = house.http.post(
        "/api/v1/api-keys", json={"name": name, "roles": ["viewer"]}, headers={"Idempotency-Key": name}
    )
    rows = "SELECT 1 FROM outbox WHERE headers->>'ce-type' LIKE '%.ApiKeyCreated' AND published_at IS NULL"
    return response.status_code == httpx.codes.CREATED and not house.rows("auth", rows)


def test_five_minutes_without_the_bus(house: House) -> None:
    """The API refuses at once; a running training goes on and commits; the outbox grows, and drains after it."""
    task = running(house, "without-the-bus", 200)
    house.stack.stop(["nats"])
    stopped, answers, kept = time.monotonic(), [], []
    while time.monotonic() - stopped < AWAY_SECONDS:
        asked = time.monotonic()
        status = house.http.post("/api/v1/api-keys", json={"name": "refused", "roles": ["viewer"]}).status_code
        answers.append((status, time.monotonic() - asked))
        kept.append((row(house, task)["progress"], _unpublished(house)))
        time.sleep(1.0)
    house.stack.start(["nats"])
    back = time.monotonic()
    until(lambda: _unpublished(house) == 0, what="the outbox to drain")
    drained = time.monotonic() - back
    statuses, seconds = Counter(status for status, _ in answers), [taken for _, taken in answers[1:]]
    print(f"{len(answers)} requests in {AWAY_SECONDS:g} s: {dict(statuses)}, after {max(seconds):.2f} s at most")
    print(f"training from {kept[0][0]:.0%} to {kept[-1][0]:.0%}; outbox from {kept[0][1]} to {kept[-1][1]} messages")
    print(f"drained {drained:.1f} s after the bus was back")
    assert set(statuses) == {503} and max(seconds) < REFUSED_SECONDS
    assert kept[-1][0] == 1.0 and kept[-1][1] > kept[0][1]
    assert house.wait_task(task)["state"] == "succeeded"
    assert settled(house, task) == UNDISTURBED
    assert "refused" not in {key["name"] for key in house.get("api-keys")["keys"]}


def _unpublished(house: House) -> int:
    return sum(
        house.rows(owner, "SELECT count(*) AS found FROM outbox WHERE published_at IS NULL")[0]["found"]
        for owner in ("trainer", "auth", "registry", "evaluator", "inference", "monitor")
    )


class Callers:
    """Threads that call through our own client with its retries, and one that asks without any."""

    def __init__(self, house: House) -> None:
        self.house, self.ended = house, threading.Event()
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []
        self.stock: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._threads = [threading.Thread(target=self._call, args=(number,), daemon=True) for number in range(3)]
        self._threads.append(threading.Thread(target=self._ask, daemon=True))

    @contextmanager
    def calling(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self.ended.set()
            for thread in self._threads:
                thread.join(2 * CALL_SECONDS)

    def _call(self, number: int) -> None:
        url = self.house.stack.info["gateway"]
        with Client(url, self.house.key, timeout=CALL_SECONDS, retries=RETRIES) as client:
            calls: dict[str, Callable[[], Any]] = {
                "predict": lambda: client.predict("later", {"x": np.ones((1, 3), np.float32)}, 1),
                "models": client.models,
                "tasks": client.tasks,
                "deployments": client.deployments,
                "promote": lambda: client.promote("later", 1, f"restarts-{number}"),
            }
            while not self.ended.wait(0.05):
                name = random.choice(list(calls))
                asked = time.monotonic()
                try:
                    calls[name]()
                except Exception as error:
                    self.failed.append(f"{name}: {error!r}")
                self.done[name] += 1
                self.seconds.append(time.monotonic() - asked)

    def _ask(self) -> None:
        with self.house.client(self.house.key) as http:
            while not self.ended.wait(0.05):
                try:
                    self.stock[str(http.post(PATH, content=JSON_BODY).status_code)] += 1
                except httpx.TransportError as error:
                    self.stock[type(error).__name__] += 1


def test_a_hundred_restarts_under_load_fail_no_request(house: House) -> None:
    """Failed is a call of our client that raises, after the retries that it is told to make."""
    bring_model(house)
    chance, callers = random.Random(SEED), Callers(house)
    restarted: Counter[str] = Counter()
    with callers.calling():
        for _ in range(RESTARTS):
            part = chance.choice(SERVICES)
            before = house.stack.pid(part)
            house.stack.manager.stop([part])
            house.stack.manager.start([part])
            until(lambda part=part, before=before: house.stack.pid(part) != before, what=part)
            until(lambda part=part: house.stack.is_ready(part), what=part)
            restarted[part] += 1
    print(f"{restarted.total()} restarts: {dict(restarted)}")
    print(f"{callers.done.total()} calls with up to {RETRIES} retries within {CALL_SECONDS:g} s: {dict(callers.done)}")
    print(f"slowest {max(callers.seconds):.1f} s, median {statistics.median(callers.seconds) * 1000:.0f} ms")
    print(f"{len(callers.failed)} failed; a client without retries met {dict(callers.stock)}")
    assert callers.failed == []


def test_after_a_minute_without_the_bus_all_is_as_before(house: House) -> None:
    """All clients come back at once; how long until a call takes less than twice what it took before."""
    bring_model(house)
    callers = Callers(house)
    with callers.calling():
        time.sleep(20)
        usual = statistics.median(callers.seconds)
        house.stack.stop(["nats"])
        time.sleep(OUTAGE_SECONDS)
        house.stack.start(["nats"])
        back = time.monotonic()

        def is_usual() -> bool:
            callers.seconds.clear()
            time.sleep(1.0)
            return len(callers.seconds) > 10 and statistics.median(callers.seconds) < 2 * usual

        until(is_usual, what="calls as fast as before")
        recovered = time.monotonic() - back
        house.stack.wait_ready()
    print(f"median {usual * 1000:.0f} ms before; less than twice that {recovered:.1f} s after the bus was back")
    assert recovered < OUTAGE_SECONDS
