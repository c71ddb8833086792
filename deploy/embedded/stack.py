"""The embedded stack: brings all parts up in order, takes them down, and survives the death of any of them."""

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from deploy import provision
from deploy.bus import Refused
from deploy.bus_plan import Plan as AdminPlan
from deploy.embedded import parts as catalogue
from deploy.embedded import processes
from deploy.embedded.cluster import create_cluster
from deploy.embedded.control import LISTENER, Manager
from deploy.embedded.home import Home, read_json
from deploy.embedded.launch import write_private
from deploy.embedded.manager import start_manager, write_configuration
from deploy.embedded.parts import DEFAULT_HOME, PARTS, SERVERS, Plan, Settings
from deploy.embedded.ports import reservations
from deploy.embedded.probes import accepts_connections, answers, tail
from deploy.machine import check_ours, check_space, check_writable

READY_SECONDS = 120.0
DOWN_SECONDS = 45.0
OTHER_HOME = "run as its owner, or choose another state folder with --home"
POLL_SECONDS = 0.05


class StackError(Exception):
    """The stack could not be brought where it was wanted."""


class Stack:
    """One stack in one state folder; `parts` are those that `up` starts, `settings` further ones by service."""

    def __init__(
        self,
        home: Path | str = DEFAULT_HOME,
        parts: Collection[str] = PARTS,
        settings: Settings | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.home = Home(Path(home).absolute())
        self.parts = [part for part in PARTS if part in parts]
        self.settings = settings or {}
        self.say = say
        self._plan: Plan | None = None
        self._begun = time.monotonic()

    def up(self) -> None:
        """Start what does not run yet and return when all is ready."""
        self._check_place()
        with self.locked():
            self._begun = time.monotonic()
            if self.is_up() and self.home.provisioned_file.exists():
                self.say(f"already running: {self.address}")
                return
            if not self.manager.answers():
                check_space(self.home.path, self.home.space_needed(), "The stack")
                self._prepare()
            self._start(self.parts, provisioned=False)
            self.say(f"{self._elapsed()}  ready: {self.address}")

    def down(self) -> None:
        """Stop services, then servers, then the process manager; what does not stop in time is killed."""
        if not self.home.path.exists():
            self.say(f"nothing runs in {self.home.path}")
            return
        self._check_place()
        with self.locked():
            self._begun = time.monotonic()
            ran = self.manager.answers()
            if ran:
                self.say(f"{self._elapsed()}  stopping")
                self.manager.shutdown()
                self._wait_for_end()
            killed = self._reap()
            for name in killed:
                self.say(f"{self._elapsed()}  {name} did not stop and was killed")
            self.home.stack_file.unlink(missing_ok=True)
            self.say(f"{self._elapsed()}  down" if ran or killed else f"nothing runs in {self.home.path}")

    def start(self, parts: Collection[str]) -> None:
        """Start further parts of a running stack, or some that were stopped, and wait until they are ready."""
        wanted = [part for part in PARTS if part in parts]
        with self.locked():
            self._begun = time.monotonic()
            self._start(wanted, provisioned=set(wanted) <= set(SERVERS))

    def stop(self, parts: Collection[str]) -> None:
        """Stop parts in good order; they stay down until started."""
        with self.locked():
            self.manager.stop([part for part in reversed(PARTS) if part in parts])

    def kill(self, name: str) -> int:
        """Crash a part (or "supervisord") with SIGKILL; its pid was the one returned."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def pid(self, name: str) -> int:
        """The pid of a part now; a part between crash and restart has none."""
        pid = self._manager_pid() if name == "supervisord" else self.manager.pids().get(name)
        if pid is None:
            raise StackError(f"{name} does not run")
        return pid

    @property
    def info(self) -> dict[str, Any]:
        """The content of stack.json."""
        if not self.home.stack_file.exists():
            raise StackError(f"no stack runs in {self.home.path}: start one with ./justw up")
        content: dict[str, Any] = json.loads(self.home.stack_file.read_text())
        return content

    @property
    def address(self) -> str:
        """Where the gateway is; a stack that an earlier release started has no gRPC."""
        return ", gRPC ".join(self.info[name] for name in ("gateway", "gateway_grpc") if name in self.info)

    def check_running(self) -> None:
        if not self.home.path.exists() or not self.manager.answers():
            raise StackError(f"no stack runs in {self.home.path}: start one with ./justw up")

    def runs(self) -> bool:
        """Whether anything of an earlier start still lives here, be it what a crash left over."""
        return self.manager.answers() or any(map(processes.is_alive, self._recorded().values()))

    def is_up(self) -> bool:
        """Whether every part runs and is ready."""
        if not self.manager.answers() or not self.home.stack_file.exists():
            return False
        return set(self.parts) <= self._running().keys() and not self._unready(self.parts)

    def is_ready(self, part: str) -> bool:
        """Whether the part answers, and it is ours that answers rather than another one on its port."""
        pid, port = self._running().get(part), self.plan.ports[catalogue.READY_PORTS[part]]
        return pid is not None and processes.listens(pid, port) and self._answers(part)

    def _answers(self, part: str) -> bool:
        if part == "postgres":
            return accepts_connections(self.plan.admin_dsn)
        return answers(catalogue.ready_url(self.plan, part))

    def wait_ready(self, parts: Collection[str] | None = None, seconds: float = READY_SECONDS) -> None:
        """Wait until the parts are ready, or say which are not and what they logged last."""
        deadline = time.monotonic() + seconds
        waiting = list(self.parts if parts is None else parts)
        while waiting := self._unready(waiting):
            if time.monotonic() > deadline:
                raise StackError("\n".join(self._complaint(part, seconds) for part in waiting))
            time.sleep(POLL_SECONDS)

    def provision(self) -> None:
        """Bring database and bus to what services expect, as far as their servers are among the parts.

        Raises StackError, with nothing done on the bus, where messages or positions would be lost.
        """
        plan = self.plan
        if "postgres" in self._running():
            provision.provision_database(plan.admin_dsn, plan.passwords("postgres"))
        if "nats" in self._running():
            try:
                provision.provision_bus(plan.bus_admin_url)
            except Refused as refused:
                raise StackError(
                    f"the bus is left as it is, as messages or positions would be lost:\n{refused}"
                ) from None
            except TimeoutError as error:
                raise StackError(str(error)) from None

    def planned(self) -> AdminPlan:
        """What `provision` would do to the running servers."""
        plan, running = self.plan, self._running()
        found = [provision.plan_database(plan.admin_dsn, plan.passwords("postgres"))] if "postgres" in running else []
        found += [provision.plan_bus(plan.bus_admin_url)] if "nats" in running else []
        return AdminPlan(tuple(step for each in found for step in each.steps))

    @property
    def plan(self) -> Plan:
        """Ports and secrets, as the last `up` of a stopped stack chose them."""
        if self._plan is None:
            self._plan = Plan.kept(self.home, self.settings)
        return self._plan

    @cached_property
    def manager(self) -> Manager:
        return Manager(self.home.socket)

    def _check_place(self) -> None:
        check_ours(self.home.path, OTHER_HOME)
        check_writable(self.home.path, OTHER_HOME)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One `up`, `down` or backup at a time; the lock goes with its process."""
        self.home.lock_file.touch(mode=0o600)
        with self.home.lock_file.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say(f"waiting for another up, down or backup in {self.home.path}")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _prepare(self) -> None:
        """From nothing or from the remains of a crash to a running process manager."""
        for name in self._reap():
            self.say(f"{self._elapsed()}  {name} was left over from a crash and was killed")
        self.home.stack_file.unlink(missing_ok=True)
        self.home.provisioned_file.unlink(missing_ok=True)
        self._plan = Plan.make(self.home, self.settings)
        users = provision.bus_users(self._plan.passwords("nats"))
        catalogue.write_bus_config(self._plan, users)
        write_private(self.home.endpoints_file, json.dumps(self._plan.endpoints()))
        write_configuration(self.home, catalogue.launches(self._plan))
        manager = start_manager(self.home, self._plan.address("gateway"), reservations(self._plan.ports.values()))
        mark = processes.identity(manager.pid)
        write_private(self.home.processes_file, json.dumps({"supervisord": mark} if mark else {}))
        self._wait(self.manager.answers, lambda: manager.poll() is None, "supervisord.out")
        self.say(f"{self._elapsed()}  process manager started")

    def _start(self, parts: list[str], provisioned: bool) -> None:
        servers = [part for part in parts if part in SERVERS]
        services = [part for part in parts if part not in SERVERS]
        self.manager.start([part for part in servers if part != "postgres"])
        if "postgres" in servers:
            create_cluster(self.home.cluster, self.plan.secrets["postgres-admin"])
        self.manager.start(servers)
        self.wait_ready(servers)
        self._say_started(servers)
        if not provisioned:
            self.provision()
            write_private(self.home.provisioned_file, "")
            self.say(f"{self._elapsed()}  database and bus provisioned")
        self.manager.start(services)
        self.wait_ready(services)
        self._say_started(services)
        self._wait_for_record(parts)

    def _say_started(self, parts: list[str]) -> None:
        if parts:
            self.say(f"{self._elapsed()}  {', '.join(parts)} ready")

    def _running(self) -> dict[str, int]:
        return self.manager.pids()

    def _unready(self, parts: Collection[str]) -> list[str]:
        if not parts:
            return []
        with ThreadPoolExecutor(len(parts)) as pool:
            found = zip(parts, pool.map(self.is_ready, parts), strict=True)
            return [part for part, ready in found if not ready]

    def _complaint(self, part: str, seconds: float) -> str:
        log = self.home.log(part)
        return f"{part} is not ready after {seconds:.0f} s; the end of {log}:\n{tail(log)}"

    def _wait(self, done: Callable[[], bool], hope: Callable[[], bool], log: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not done():
            if not hope() or time.monotonic() > deadline:
                raise StackError(f"the process manager did not start:\n{tail(self.home.log(log))}")
            time.sleep(POLL_SECONDS)

    def _wait_for_record(self, parts: list[str]) -> None:
        """Until stack.json, which the process manager's listener writes, names every part's process."""

        def recorded() -> bool:
            pids = self._running()
            return self.home.stack_file.exists() and all(
                self.info["processes"].get(part) == pids.get(part) for part in parts
            )

        self._wait(recorded, self.manager.answers, LISTENER)

    def _wait_for_end(self) -> None:
        deadline = time.monotonic() + DOWN_SECONDS
        while any(map(processes.is_alive, self._recorded().values())) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _recorded(self) -> dict[str, str]:
        """Pids with start times, as the listener last wrote them."""
        return read_json(self.home.processes_file)

    def _reap(self) -> list[str]:
        """Kill what an earlier run left, known by pid and start time."""
        killed = processes.kill_all(self._recorded())
        self.home.processes_file.unlink(missing_ok=True)
        return killed

    def _manager_pid(self) -> int | None:
        recorded = self._recorded().get("supervisord")
        return processes.pid_of(recorded) if recorded and processes.is_alive(recorded) else None

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._begun:5.1f} s"
