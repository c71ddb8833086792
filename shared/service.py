"""Service: one process composed of bus, database, relay, loops and ops port, from its start to its drain."""

import asyncio
import gc
import math
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from shared import answering, failpoints, inbox, observe
from shared.bus import Bus
from shared.db import Database
from shared.dispatch import Dispatcher
from shared.ending import end
from shared.errors import AimassError, Drift
from shared.handlers import Handlers
from shared.ops.readiness import Readiness
from shared.ops.server import Operations, serve_ops
from shared.ops.status import Table
from shared.outbox import Relay
from shared.settings import ServiceSettings
from shared.streams import Declaration, streams_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Loop = Callable[[], Awaitable[None]]
Check = Callable[[], Awaitable[str]]
FIRST_SECONDS = 0.1  # what a check waits for mostly comes right after the start
GUARD_SECONDS = 1.0
DECLARED_SECONDS = 5.0
PRUNE_SECONDS = 3600.0
RESTART_SECONDS = 1.0
GC_THRESHOLDS = (20_000, 20, 20)
SWITCH_SECONDS = 0.0005


class Service:
    """What every service is; its app.py adds the parts of its own."""

    def __init__(
        self, name: str, settings: ServiceSettings, *, data_plane: bool = False, **broker_options: Any
    ) -> None:
        observe.set_up(name, settings)
        failpoints.set_up(settings.failpoints)
        self.name, self.settings = name, settings
        self.bus = Bus(name, settings, **broker_options)
        has_database = bool(settings.database_url.get_secret_value())
        self.database = Database(settings) if has_database else None
        self.relay = Relay(self.database, name) if self.database else None
        self.readiness = Readiness(name)
        self.dispatcher: Dispatcher | None = None
        self._control_is_essential = not data_plane
        self._checks: dict[str, Check] = {}
        self._loops: dict[str, Loop] = {}
        self._early: dict[str, Loop] = {}
        self._closing: list[Loop] = []
        self._prunings = [inbox.PRUNE, inbox.PRUNE_ATTEMPTS, answering.PRUNE_KEYS]
        self.tables: Callable[[], list[Table]] = list
        self._stop = asyncio.Event()
        self._paused: set[str] = set()

    def handle(self, handlers: Handlers, parts: Any) -> None:
        """Connect handlers to the bus; `parts` is what they work with."""
        self.dispatcher = Dispatcher(self.bus, handlers, parts, self.database, self.relay)
        self.dispatcher.connect()

    def add_loop(self, name: str, loop: Loop, *, early: bool = False) -> None:
        """Run this coroutine function until the service stops; it is started again when it fails.

        An early one does not wait for the bus.
        """
        (self._early if early else self._loops)[name] = loop

    def add_check(self, name: str, check: Check) -> None:
        """Ask this about readiness every second; it answers with the problem, or with nothing."""
        self._checks[name] = check

    def add_pruning(self, statement: str) -> None:
        """Execute this once an hour, to drop what nobody needs any more."""
        self._prunings.append(statement)

    def add_closing(self, closing: Loop) -> None:
        """Await this when the service drains, in the order of addition."""
        self._closing.append(closing)

    def show(self, tables: Callable[[], list[Table]]) -> None:
        """Have these on the operators' page; they are asked for at any time, so that they only tell what is known."""
        self.tables = tables

    def stop(self) -> None:
        """Drain and end."""
        self._stop.set()

    async def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, drain."""
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, self.stop)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(serve_ops(self.settings, self._operations()))]
            tasks += [group.create_task(self._keep(name, loop)) for name, loop in self._early.items()]
            await self._start()
            tasks += [group.create_task(self._keep(name, loop)) for name, loop in self._all_loops().items()]
            await self._stop.wait()
            await self._drain()
            await end(tasks)

    def _all_loops(self) -> dict[str, Loop]:
        loops = dict(self._loops) | {"guard": self._guard}
        if self.relay:
            relay = self.relay
            loops |= {"relay": lambda: relay.run(self.bus), "prune": self._keep_pruning}
        return loops

    def _operations(self) -> Operations:
        declaration = self.dispatcher.handlers.declaration if self.dispatcher else Declaration(self.name)
        pool_size = self.settings.database_pool if self.database else 0
        return Operations(self.readiness, declaration, self._dead_letters, pool_size, self.tables)

    async def _dead_letters(self) -> int | None:
        if self.dispatcher is None or not self.dispatcher.consumers:
            return 0
        return await self.bus.dead_letters() if self.bus.is_connected() else None

    async def _start(self) -> None:
        await self.bus.connect()
        for wanted in streams_of(self.dispatcher.handlers.declaration) if self.dispatcher else ():
            await self.bus.check_stream(wanted)
        for stream, config in self.dispatcher.consumers.items() if self.dispatcher else ():
            await self.bus.check_consumer(stream, config)
        await self.bus.broker.start()
        if self.dispatcher:
            await self.dispatcher.start()
        observe.log().info("started")

    async def _keep(self, name: str, loop: Loop) -> None:
        """Start a loop again when it fails, but not one whose end failed: cancelling it would then never end."""
        while not self._stop.is_set():
            try:
                await loop()
                return
            except AimassError as error:
                observe.log().warning("loop waits", loop=name, error=error.message)
            except Exception as error:
                observe.log().error("loop failed", loop=name, exc_info=error)
            await asyncio.sleep(RESTART_SECONDS)

    async def _guard(self) -> None:
        """Watch bus, database and consumers, at first more often; stop fetching while the database is down."""
        looked, wait = -math.inf, FIRST_SECONDS
        while True:
            self.readiness.report("bus", "" if self.bus.is_connected() else "not connected")
            down = await self._check_database()
            await self._pause_fetching(bool(down))
            if time.monotonic() - looked >= DECLARED_SECONDS or self.readiness.problems():
                await self._check_declared()
                looked = time.monotonic()
            for name, check in self._checks.items():
                self.readiness.report(name, await check())
            self.readiness.started()
            await asyncio.sleep(wait)
            wait = min(2 * wait, GUARD_SECONDS)

    async def _check_database(self) -> str:
        if self.database is None or self.relay is None:
            return ""
        problem = ""
        try:
            lag = await self.relay.lag()
            observe.OUTBOX_AGE.labels(self.name).set(lag.age)
            observe.OUTBOX_DEAD.labels(self.name).set(lag.dead)
            observe.POOL_IN_USE.labels(self.name).set(self.database.in_use())
            self._report("outbox", f"behind by {lag.age:.0f} s" if lag.age > 30 else "")
        except AimassError as error:
            problem = error.message
        self._report("database", problem)
        return problem

    async def _pause_fetching(self, pause: bool) -> None:
        """Where a start fails, the next call goes on with it: a second start of the others would deafen them."""
        for stream, subscriber in self.dispatcher.subscribers.items() if self.dispatcher else ():
            if pause == (stream in self._paused):
                continue
            await subscriber.stop()
            if not pause:
                await subscriber.start()
            self._paused ^= {stream}
            observe.log().warning("stopped fetching" if pause else "fetching again", stream=stream)

    async def _check_declared(self) -> None:
        """Streams, which a bus that starts anew may have as they once were, and consumers."""
        if self.dispatcher is None or not self.bus.is_connected():
            return
        streams, consumers = streams_of(self.dispatcher.handlers.declaration), self.dispatcher.consumers
        checks = {f"stream {wanted.name}": _problem(self.bus.check_stream(wanted)) for wanted in streams}
        checks |= {f"consumer {name}": _problem(self.bus.check_consumer(name, its)) for name, its in consumers.items()}
        for name, problem in zip(checks, await asyncio.gather(*checks.values()), strict=True):
            self._report(name, problem)

    def _report(self, check: str, problem: str) -> None:
        """A problem of the control plane, which does not stop a data plane."""
        self.readiness.report(check, problem, essential=self._control_is_essential)

    async def _keep_pruning(self) -> None:
        while True:
            await self.prune()
            await asyncio.sleep(PRUNE_SECONDS)

    async def prune(self) -> None:
        """Drop what nobody needs any more."""
        assert self.database is not None and self.relay is not None
        await self.relay.prune()
        async with self.database.connection() as connection:
            for statement in self._prunings:
                await connection.execute(statement)

    async def _drain(self) -> None:
        """Stop taking work, finish what is there, close."""
        observe.log().info("draining")
        self.readiness.report("draining", "stopping")
        for closing in self._closing:
            await closing()
        if self.dispatcher:
            await self.dispatcher.stop()
        await self.bus.stop()
        if self.database:
            await self.database.close()
        observe.log().info("stopped")


async def _problem(check: Awaitable[object]) -> str:
    """What is wrong, as this check says; nothing where it is well."""
    try:
        await check
    except Drift as error:
        return error.message
    except Exception as error:
        return repr(error)
    return ""


def run(build: Callable[[], Service], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """Run a service until it is told to stop; a drift or a wrong setting ends it with one line."""
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_run(build))
    except* Drift as group:
        sys.exit(str(group.exceptions[0]))
    except* ValidationError as group:
        sys.exit("\n".join(map(_told, _first(group).errors())))


def _first(group: BaseExceptionGroup[ValidationError]) -> ValidationError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _told(error: "ErrorDetails") -> str:
    """The setting and what is wrong with it; what was given is not repeated, as it may be a secret."""
    named = ".".join(str(part) for part in error["loc"])
    return f"{named}: {error['msg']}" if named else error["msg"].removeprefix("Value error, ")


async def _run(build: Callable[[], Service]) -> None:
    service = build()
    gc.freeze()  # what is loaded stays; without this and the threshold a busy loop spends a tenth of its time here
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()
    sys.setswitchinterval(SWITCH_SECONDS)  # else a thread that writes spans holds the loop up for 5 ms at a time
    await service.run()
