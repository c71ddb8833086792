"""Which versions a node has in Triton's memory, and with how many instances; every decision is told with its reason."""

import asyncio
import math
import time
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import replace
from typing import Any

from services.inference.data_plane import DataPlane
from services.inference.domain import Deployment, Routing
from services.inference.engine import Triton
from services.inference.repository import Repository
from services.inference.resources import metrics
from services.inference.resources.domain import (
    MIB,
    Bounds,
    Change,
    Estimates,
    Resident,
    Room,
    Scaling,
    Thresholds,
    in_mib,
    make_room,
)
from services.inference.resources.memory import Processes
from services.inference.resources.watchdog import Watchdog
from services.inference.settings import Settings
from shared import observe
from shared.artifacts import Artifacts
from shared.context import Context
from shared.errors import AimassError, Unavailable
from shared.events.base import Event
from shared.events.deployment import InstancesChanged, VersionParked, VersionRestored
from shared.outbox import Relay

PAUSE_SECONDS = 0.5
EAGER_SECONDS = 0.1
MEASURE_SECONDS = 2.0
UNTOLD_KEPT = 1000
RETRY_SECONDS = 2


class Residency:
    """Loads, parks, restores and scales the versions of a node; `triton_lock` is held by whoever tells Triton to.

    A version that is parked is still deployed: its files lie ready, and its requests wait until it is back.
    """

    def __init__(
        self, settings: Settings, relay: Relay, triton: Triton, routing: Routing, data_plane: DataPlane
    ) -> None:
        self._settings, self._relay = settings, relay
        self._triton, self._routing, self._data_plane = triton, routing, data_plane
        self.triton_lock = asyncio.Lock()
        self.repository = Repository(settings.triton_repository, settings.triton_backend)
        self._artifacts = Artifacts(settings.artifacts_url)
        self._processes = Processes(settings.triton_repository)
        self._watchdog = Watchdog(self._processes, settings.triton_backend)
        self._meter = data_plane.meter
        self._budget = settings.memory_mb * MIB
        self._limits = Thresholds(settings.scale_wait_seconds, settings.scale_up_seconds, settings.scale_down_seconds)
        self._estimates = Estimates(settings.instance_mb * MIB)
        self._taken: dict[str, tuple[int, int]] = {}
        self._measured = -math.inf
        self._instances: dict[str, int] = {}
        self._scalings: defaultdict[str, Scaling] = defaultdict(Scaling)
        self._asked: dict[str, float] = {}
        self._woken = asyncio.Event()
        self._untold: deque[tuple[str, Event]] = deque(maxlen=UNTOLD_KEPT)
        data_plane.on_parked = self.ask
        metrics.BUDGET.set(self._budget)

    def ask(self, deployment: Deployment) -> None:
        """A parked version is asked for: it comes back soon.

        Raises Unavailable where no memory can be had for it.
        """
        if deployment.name in self._asked:
            return
        room = self._room(deployment.name)
        if not room.fits and not room.soon:
            raise self._no_room(deployment)
        self._asked[deployment.name] = self._meter.clock()
        self._woken.set()

    async def run(self) -> None:
        """Turn for ever; what is down now is tried again at the next turn."""
        while True:
            self._woken.clear()
            pause = PAUSE_SECONDS
            try:
                await self.turn()
                pause = EAGER_SECONDS if self._asked else PAUSE_SECONDS
            except AimassError as error:
                observe.log().warning("resources wait", error=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def telling(self) -> None:
        """Tell for ever, apart from the turns, which need no database."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            await self.tell()

    async def leave(self) -> None:
        try:
            await self.tell()
        except Unavailable as error:
            observe.log().warning("decisions not told", count=len(self._untold), error=error.message)

    async def turn(self) -> None:
        """Bring back what is asked for, keep to the budget, follow demand; between two steps others may act."""
        if self._meter.clock() - self._measured >= MEASURE_SECONDS:
            await self._measure()
        try:
            for name in sorted(self._asked, key=self._asked.__getitem__):
                async with self.triton_lock:
                    await self._attend(name)
            for name in sorted(self._routing.parked - self._asked.keys()):
                async with self.triton_lock:
                    await self._bring_pinned(name)
            async with self.triton_lock:
                await self._park_all(self._room(needed=0))
            for name in sorted(self._routing.ready & self._routing.wanted.keys()):
                async with self.triton_lock:
                    await self._scale(name)
        finally:
            metrics.show(self._routing, self.facts())

    async def bring(self, deployment: Deployment) -> bool:
        """Load a version; one that was loaded before and is not pinned makes nobody leave, but is parked without room.

        Whether it is in memory now, which a new one waits for; raises Unavailable, or what is wrong with it.
        """
        name, is_new = deployment.name, deployment.state == "loading"
        if is_new and name in self._estimates.sizes and not self._room(name).fits:
            return False
        await self._lay_down(deployment)
        room = self._room(name)
        if not is_new and not (room.fits and (self._bounds(name).pinned or not room.parks)):
            needs, budget = in_mib(self._needs(name)), in_mib(self._budget)
            self._mark_parked(name, f"{needs} for it are not free of {budget}, and nobody asks it now")
            return False
        if not room.fits:
            observe.log().warning("a version waits", model=name, reason=self._no_room(deployment).message)
            return False
        await self._park_all(room, name)
        if self._triton.has_crashed(name):
            await self._begin_anew(name)
        await self._load(name)
        return True

    async def _begin_anew(self, name: str) -> None:
        """Nothing is left of processes that have crashed, hang, or answer what they were not asked.

        While Triton loads or unloads a version they are let be: it would wait for ever for one that was killed.
        """
        if (await self._triton.states()).get(name) == "READY":
            await asyncio.to_thread(self._processes.end, name)
        await asyncio.to_thread(self.repository.renew, name)

    async def _lay_down(self, deployment: Deployment) -> None:
        name, digest = deployment.name, deployment.digest
        artifact = await self._artifacts.get(digest)
        self._estimates.sizes[name] = len(artifact)
        count = self._instances.setdefault(name, self._bounds(name).least)
        write = self.repository.write
        await asyncio.to_thread(write, name, deployment.signature, artifact, digest, instances=count)

    async def drop(self, name: str) -> None:
        """Forget a version that nobody wants any more."""
        if name not in self._routing.parked:
            await self._unload(name)
        await asyncio.to_thread(self.repository.remove, name)
        self._routing.ready -= {name}
        self._routing.parked -= {name}
        self._data_plane.restore(name)
        self._data_plane.forget(name)
        self._data_plane.set_instances(name, 1)
        for known in (self._instances, self._scalings, self._asked, self._estimates.sizes, self._estimates.measured):
            known.pop(name, None)

    async def settle(self, ready: set[str]) -> frozenset[str]:
        """What is ready of that, once what was parked and is there all the same is unloaded."""
        for name in sorted(ready & self._routing.parked):
            await self._unload(name)
        return frozenset(ready - self._routing.parked)

    def facts(self) -> dict[str, dict[str, Any]]:
        """What this node gives each version, as other processes read it."""
        return {name: self._fact(name) for name in sorted(self._routing.held() & self._routing.wanted.keys())}

    def _fact(self, name: str) -> dict[str, Any]:
        parked = name in self._routing.parked
        state = "resident" if not parked else "restoring" if name in self._asked else "parked"
        return {
            "state": state,
            "instances": 0 if parked else self._instances.get(name, 1),
            "memory_bytes": 0 if parked else self._takes(name),
            "measured": not parked and name in self._taken,
            "used": time.time() - (self._meter.clock() - self._meter.used(name)),
        }

    async def _measure(self) -> None:
        self._taken = await asyncio.to_thread(self._processes.measure)
        self._estimates.note(self._taken)
        self._measured = self._meter.clock()

    def _takes(self, name: str) -> int:
        return self._taken[name][0] if name in self._taken else self._needs(name)

    def _needs(self, name: str) -> int:
        return self._estimates.of(name, self._instances.get(name, 1))

    def _bounds(self, name: str) -> Bounds:
        found = self._routing.wanted.get(name)
        return self._routing.bounds.get((found.project, found.model), Bounds()) if found else Bounds(pinned=True)

    def _residents(self) -> list[Resident]:
        """What nobody wants is the reconciler's to unload."""
        flying, used = self._data_plane.in_flight, self._meter.used
        names = sorted(self._routing.ready)
        return [
            Resident(name, self._takes(name), used(name), flying(name), self._bounds(name).pinned) for name in names
        ]

    def _room(self, name: str = "", needed: int | None = None) -> Room:
        """Room for a version that is not in memory, or for so much more of one that is, and stays."""
        more, others = self._needs(name) if needed is None else needed, self._residents()
        if needed is None:
            others = [each for each in others if each.name != name]
        else:
            others = [replace(each, pinned=each.pinned or each.name == name) for each in others]
        return make_room(others, more, self._budget, self._meter.clock(), self._settings.idle_seconds)

    def _no_room(self, deployment: Deployment) -> Unavailable:
        what = f"version {deployment.version} of model '{deployment.model}' is not in memory"
        taken = sum(each.memory for each in self._residents())
        why = f"{in_mib(self._needs(deployment.name))} for it are not free of {in_mib(self._budget)}"
        return Unavailable(
            f"{what}, and {why}: {in_mib(taken)} are taken by models in use or pinned; try again",
            retry_after=RETRY_SECONDS,
        )

    async def _attend(self, name: str) -> None:
        """One version that requests wait for; nobody waits for longer than is set."""
        if name not in self._asked:
            return
        waited = self._meter.clock() - self._asked[name]
        deployment = self._routing.wanted.get(name)
        room = self._room(name)
        if not self._data_plane.in_flight(name):
            del self._asked[name]
        elif deployment is None:
            self._refuse(name, Unavailable("the version is not deployed any more"))
        elif waited > self._settings.warm_up_seconds or not (room.fits or room.soon):
            self._refuse(name, self._no_room(deployment))
        elif room.fits:
            await self._restore(name, room, f"requests that wait for it: {self._data_plane.in_flight(name)}")

    async def _bring_pinned(self, name: str) -> None:
        """One that was parked before it was pinned."""
        is_due = name in self._routing.parked & self._routing.wanted.keys() and self._bounds(name).pinned
        if is_due and (room := self._room(name)).fits:
            await self._restore(name, room, "it is pinned")

    async def _restore(self, name: str, room: Room, reason: str) -> None:
        started = self._asked.get(name, self._meter.clock())
        try:
            await self._park_all(room, name)
            await self._load(name)
        except Unavailable:
            raise
        except AimassError as error:
            observe.log().error("cannot restore", model=name, reason=error.message)
            self._refuse(name, Unavailable(f"the model cannot be loaded again now: {error.message}"))
            return
        self._asked.pop(name, None)
        self._routing.ready |= {name}
        self._routing.parked -= {name}
        self._data_plane.restore(name)
        seconds = self._meter.clock() - started
        self._say(name, VersionRestored, memory_bytes=self._takes(name), seconds=seconds, reason=reason)

    def _refuse(self, name: str, error: Unavailable) -> None:
        self._asked.pop(name, None)
        self._data_plane.refuse(name, error)

    async def _load(self, name: str) -> None:
        count = await self._count(name)
        await asyncio.to_thread(self.repository.set_instances, name, count)
        async with self._watchdog.over(name):
            await self._triton.load(name)
        self._meter.touch(name)
        self._data_plane.set_instances(name, count)
        await self._measure()

    async def _unload(self, name: str) -> None:
        """Also one whose process has crashed unnoticed: Triton ends with it when it is loaded anew."""
        await asyncio.to_thread(self.repository.renew, name)
        await self._triton.unload(name)

    async def _park_all(self, room: Room, to: str = "") -> None:
        why = f"to make room for {to}" if to else "the models outgrew the budget"
        for name in room.parks:
            if not self._data_plane.in_flight(name):  # it may have been asked while others were unloaded
                await self._park(name, why)
        if room.parks:
            await self._measure()

    async def _park(self, name: str, why: str) -> None:
        unused = self._meter.clock() - self._meter.used(name)
        self._mark_parked(name, f"{why}: not asked for {unused:.1f} s, longest of all, within {in_mib(self._budget)}")
        await self._unload(name)

    def _mark_parked(self, name: str, reason: str) -> None:
        """From now on its requests wait, and it comes back with as few instances as may be."""
        memory = self._takes(name)
        self._instances[name] = self._bounds(name).least
        self._routing.ready -= {name}
        self._routing.parked |= {name}
        self._data_plane.park(name)
        self._say(name, VersionParked, memory_bytes=memory, reason=reason)

    async def _scale(self, name: str) -> None:
        if name not in self._routing.ready & self._routing.wanted.keys():
            return
        count = await self._count(name)
        bounds, demand = self._bounds(name), self._data_plane.demand(name)
        change = self._scalings[name].decide(count, bounds, demand, self._limits, self._meter.clock())
        if change is None:
            return
        if change.count > count:
            room = self._room(name, self._estimates.of(name, change.count - count))
            if not room.fits or (room.parks and count >= bounds.least):
                return
            await self._park_all(room, name)
        if name in self._routing.ready:
            await self._resize(name, count, change)

    async def _count(self, name: str) -> int:
        """Its instances; after a start they are those that are written."""
        if name not in self._instances:
            self._instances[name] = await asyncio.to_thread(self.repository.instances, name)
            self._data_plane.set_instances(name, self._instances[name])
        return self._instances[name]

    async def _resize(self, name: str, count: int, change: Change) -> None:
        """Triton goes on answering meanwhile."""
        self._instances[name] = change.count
        self._data_plane.set_instances(name, min(count, change.count))
        await asyncio.to_thread(self.repository.set_instances, name, change.count)
        try:
            async with self._watchdog.over(name):
                await self._triton.load(name)
        except AimassError:
            self._instances[name] = count
            await asyncio.to_thread(self.repository.set_instances, name, count)
            raise
        self._data_plane.set_instances(name, change.count)
        self._say(name, InstancesChanged, previous=count, instances=change.count, reason=change.reason)
        await self._measure()

    def _say(self, name: str, kind: type[Event], **facts: Any) -> None:
        project, model, version = name.split(".")
        told = kind.model_validate({"model": model, "version": int(version), "node": self._settings.node, **facts})
        observe.log().info(kind.fact().replace("_", " "), model=name, **facts)
        self._untold.append((project, told))

    async def tell(self) -> None:
        """Say what was decided; while the database is down it waits here, and the loss of the process loses it."""
        while self._untold:
            project, event = self._untold[0]
            async with self._relay.work(Context(project=project)) as work:
                work.say(event)
            self._untold.popleft()
