"""Everything at once: answers, versions that follow each other, and two killed processes of models.

Two inference processes share the load. Each answer is checked exactly against the version that it names, and against
the time in which that version may answer.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import aiohttp
import nats
import psutil
from aimass import ApiError, Client
from nats.aio.msg import Msg
from rich.console import Console

from benchmarks.brought import newest, serve, upload
from benchmarks.checked_load import MODELS, Load, model_of
from benchmarks.mixed_table import Outcome, table
from benchmarks.second_node import NODE, second_node
from benchmarks.verdicts import Kill, Life, judge
from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.champion import client_of, serving
from shared.bus import settle
from shared.events.deployment import DeploymentUnstaged
from shared.names import DEFAULT_PROJECT, triton_name

EMBEDDED = "embedded"
REASON = "the next turn of a mixed load"
SETTLED_SECONDS = 60.0
KILL_TIMES = ((0.15, 0.4), (0.55, 0.8))


@dataclass(frozen=True)
class Plan:
    """What to run: seconds in all, seconds between two switches, requests a second, how many kills."""

    seconds: float
    every: float
    rate: float
    kills: int
    seed: int
    models: tuple[str, ...] = MODELS


@dataclass
class Happened:
    """What was done beside the load, and what inference said of it."""

    lives: dict[tuple[str, int], Life] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)

    async def on_event(self, message: Msg) -> None:
        """Count it, and note since when a version must not answer."""
        facts, fact = json.loads(message.data), message.subject.rpartition(".")[2]
        self.events[fact] += 1
        life = self.lives.get((facts["model"], int(facts["version"])))
        if fact == DeploymentUnstaged.fact() and life is not None:
            life.unstaged = datetime.fromisoformat((message.headers or {})["ce-time"]).timestamp()


class Mixed:
    """One run on a stack with a second node; `tritons` are the servers by node."""

    def __init__(self, client: Client, plan: Plan, tritons: Mapping[str, int]) -> None:
        self._client, self._plan, self._tritons = client, plan, tritons
        self._dice = random.Random(plan.seed)
        self._versions: dict[str, int] = {}
        self.happened = Happened()

    def prepare(self) -> None:
        """Let every model answer with a version of this run, and with no other."""
        for model in self._plan.models:
            version = upload(self._client, model, model_of(model, newest(self._client, model) + 1))
            self.happened.lives[model, version] = Life(time.time())
            serve(self._client, model, version)
            self._versions[model] = version
        self._settle()

    async def run(self, gateway: str, key: str, bus: str) -> Load:
        connection = await nats.connect(bus)
        await connection.subscribe(f"evt.{DEFAULT_PROJECT}.{DeploymentUnstaged.domain()}.>", cb=self.happened.on_event)
        await settle(connection)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            load = Load(session, gateway, self._plan.models, random.Random(self._plan.seed))
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self._switch_for_ever()), group.create_task(self._kill_all())]
                await load.run(self._plan.seconds, self._plan.rate)
                for task in beside:
                    task.cancel()
        await asyncio.to_thread(self._settle)
        await connection.close()
        return load

    async def _switch_for_ever(self) -> None:
        turn = 0
        while True:
            started = time.monotonic()
            try:
                await asyncio.to_thread(self._switch, self._plan.models[turn % len(self._plan.models)])
            except ApiError as error:
                self.happened.refused.append(str(error))
            turn += 1
            await asyncio.sleep(max(0.0, started + self._plan.every - time.monotonic()))

    def _switch(self, model: str) -> None:
        number = self._versions[model] + 1
        version = upload(self._client, model, model_of(model, number))
        if version != number:
            raise ValueError(f"the version after {number - 1} of {model} is {version}: somebody else uploads")
        self._versions[model] = version
        self.happened.lives[model, version] = Life(time.time())
        self._client.promote(model, version, force=REASON)

    async def _kill_all(self) -> None:
        began = time.monotonic()
        for first, last in KILL_TIMES[: self._plan.kills]:
            at = began + self._plan.seconds * self._dice.uniform(first, last)
            await asyncio.sleep(at - time.monotonic())
            model, node = self._dice.choice(self._plan.models), self._dice.choice(sorted(self._tritons))
            while not await asyncio.to_thread(self._kill, model, node):
                await asyncio.sleep(0.05)

    def _kill(self, model: str, node: str) -> bool:
        """Whether there was a process to kill: of the version that answers, which may have changed just now."""
        version = serving(self._client, model)
        victim = process_of(self._tritons[node], triton_name(DEFAULT_PROJECT, model, version or 0))
        if victim is None:
            return False
        self.happened.kills.append(Kill(model, node, time.time()))
        os.kill(victim, signal.SIGKILL)
        return True

    def _settle(self) -> None:
        """Wait until every model answers with its newest version, and nothing drains."""
        deadline = time.monotonic() + SETTLED_SECONDS
        while unsettled := self._unsettled():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {SETTLED_SECONDS:g} s: {', '.join(unsettled)}")
            time.sleep(0.2)

    def _unsettled(self) -> list[str]:
        held = {(d["model"], d["version"]): d for d in self._client.deployments() if d["model"] in self._versions}
        wanted = {key: d["state"] for key, d in held.items() if d["state"] not in ("unstaged", "failed")}
        return [
            f"version {version} of {model} is {state}"
            for (model, version), state in wanted.items()
            if (state, version) != ("serving", self._versions[model])
        ]


def process_of(triton: int, name: str) -> int | None:
    """The process in which a Triton runs a model."""
    for child in psutil.Process(triton).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(f"/{name}/" in part for part in child.cmdline()):
                return child.pid
    return None


def measure(stack: Stack, plan: Plan) -> Outcome:
    info, folder = stack.info, stack.home.path / "mixed"
    shutil.rmtree(folder, ignore_errors=True)
    with second_node(folder, stack.plan) as second, client_of(info) as client:
        processes = {name: info["processes"][name] for name in ("gateway", "inference")} | {NODE: second.pid}
        mixed = Mixed(client, plan, {EMBEDDED: info["processes"]["triton"], NODE: second.triton.pid})
        mixed.prepare()
        before = memory(processes)
        key = Path(info["admin_key_file"]).read_text().strip()
        load = asyncio.run(mixed.run(info["gateway"], key, info["nats"]))
        after = memory(processes)
    happened = mixed.happened
    verdicts = judge(load.asked, happened.lives, happened.kills)
    return Outcome(load.asked, verdicts, happened.kills, happened.refused, happened.events, before, after)


def memory(processes: Mapping[str, int]) -> dict[str, int]:
    """Megabytes of each process."""
    return {name: psutil.Process(pid).memory_info().rss // 2**20 for name, pid in processes.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=10, help="seconds between two switches")
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--kills", type=int, default=2, choices=(0, 1, 2), help="of processes of models")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", help="the state folder of the stack", default=DEFAULT_HOME)
    chosen = parser.parse_args()
    stack = Stack(chosen.home)
    stack.up()
    outcome = measure(stack, Plan(60 * chosen.minutes, chosen.every, chosen.rate, chosen.kills, chosen.seed))
    Console().print(table(outcome))
    sys.exit(0 if outcome.is_clean else 1)


if __name__ == "__main__":
    main()
