"""The reconciler: brings Triton's real state to the desired one, and moves deployments on as nodes confirm."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from services.inference import domain, store
from services.inference.batch import store as batches
from services.inference.data_plane import DataPlane
from services.inference.domain import Deployment, Plan, Routing
from services.inference.engine import Triton
from services.inference.resources import store as resources
from services.inference.resources.residency import Residency
from services.inference.search import store as indexes
from services.inference.settings import Settings
from services.inference.store import Route
from shared import observe
from shared.context import Context
from shared.db import Database
from shared.errors import AimassError, Unavailable
from shared.events.deployment import (
    DeploymentFailed,
    DeploymentReconciled,
    DeploymentStaged,
    DeploymentUnstaged,
    TrafficSwitched,
)
from shared.outbox import Relay
from shared.work import Work

PAUSE_SECONDS = 0.5
IDLE_SECONDS = 1.0
LASTING = frozenset({"staged", "serving"})


class Reconciler:
    """One loop of a node; every step may be repeated, and any process may die between two steps."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        relay: Relay,
        triton: Triton,
        routing: Routing,
        data_plane: DataPlane,
        residency: Residency,
    ) -> None:
        self._settings, self._database, self._relay = settings, database, relay
        self._triton, self._routing, self._data_plane = triton, routing, data_plane
        self._residency = residency
        self._woken = asyncio.Event()
        self._released: set[str] = set()
        self._drained = 0
        self._lease_until = 0.0
        self._turned = False

    async def problem(self) -> str:
        """Why this node cannot serve yet or now; empty when it can."""
        if not self._turned:
            return "deployments not read yet"
        held = self._routing.held()
        missing = [n for n, found in self._routing.wanted.items() if found.state == "serving" and n not in held]
        return f"not ready in Triton: {', '.join(missing)}" if missing else ""

    def wake(self) -> None:
        """Something has changed; do not wait for the next turn."""
        self._woken.set()

    async def run(self) -> None:
        """Reconcile for ever; what is down now is tried again at the next turn."""
        await asyncio.to_thread(self._residency.repository.prepare)
        while True:
            self._woken.clear()
            try:
                await self.turn()
            except AimassError as error:
                observe.log().warning("reconciliation waits", error=error.message)
            await self._wait(IDLE_SECONDS if self._is_settled() else PAUSE_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def _is_settled(self) -> bool:
        """Nothing is on its way from one state to another here."""
        wanted, held = self._routing.wanted, self._routing.held()
        return self._turned and wanted.keys() == held and all(found.state in LASTING for found in wanted.values())

    async def turn(self) -> None:
        """One comparison of desired and real state; with the database down, by what was known last."""
        reachable = await self._refresh()
        try:
            async with self._telling_triton():
                await self._reconcile()
        finally:
            await self._data_plane.follow()
        if reachable:
            await self._beat()
            if await self._advance() or not self._turned:
                self._turned = await self._refresh()

    async def _refresh(self) -> bool:
        """Read what is wanted; it is all there is, as long as the lease lasts that we had before."""
        sure_until = self._lease_until
        try:
            async with self._database.connection() as connection:
                wanted = await store.held(connection)
                routes, epoch = await store.routes(connection)
                self._routing.bounds = await resources.bounds(connection)
                self._routing.elsewhere = await store.elsewhere(connection, self._settings.node)
        except Unavailable:
            return False
        self._released |= self._routing.wanted.keys() - wanted.keys()
        self._routing.wanted, self._routing.routes, self._routing.epoch = wanted, routes, epoch
        self._routing.sure_until = sure_until
        return True

    async def _reconcile(self) -> None:
        self._routing.ready = await self._residency.settle(await self._ready())
        plan = domain.plan(self._routing.wanted, self._routing.held(), self._released)
        if plan.missing:
            await self._data_plane.leave_to_others()
        for name in plan.load:
            async with self._living():
                if name in self._routing.wanted:
                    await self._load(self._routing.wanted[name], plan)
        if plan.load:
            await self._refresh()  # others may have switched meanwhile
        for name in plan.unload:
            await self._unload(name, plan)

    @asynccontextmanager
    async def _telling_triton(self) -> AsyncIterator[None]:
        """Triton told by nobody else; a version that just comes back may take longer than the lease lasts."""
        async with self._living():
            await self._residency.triton_lock.acquire()
        try:
            yield
        finally:
            self._residency.triton_lock.release()

    @asynccontextmanager
    async def _living(self) -> AsyncIterator[None]:
        """Keep the lease, and read the routes, while a load takes long: others would not wait, or wait for long."""
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewing.cancel()

    async def _renew(self) -> None:
        seconds = self._settings.node_lease_seconds
        while True:
            await asyncio.sleep(seconds / 4)
            await self._refresh()
            asked = time.monotonic()
            try:
                async with self._database.transaction() as tx:
                    if await store.renew(tx, self._settings.node, seconds, self._routing.epoch):
                        self._lease_until = asked + seconds
            except Unavailable as error:
                observe.log().warning("lease not renewed", error=error.message)

    async def _ready(self) -> set[str]:
        try:
            return await self._triton.ready_models()
        except Unavailable:
            self._routing.ready = frozenset()
            raise

    async def _load(self, deployment: Deployment, plan: Plan) -> None:
        self._released.discard(deployment.name)
        try:
            if not await self._residency.bring(deployment):
                return
        except Unavailable:
            raise
        except AimassError as error:
            await self._fail(deployment, error.message)
            return
        self._data_plane.forget(deployment.name)
        self._routing.ready |= {deployment.name}
        if deployment.name in plan.missing:
            await self._tell_difference(deployment.name, "ready", "missing", "loaded")

    async def _fail(self, deployment: Deployment, reason: str) -> None:
        """A version that never was ready has failed for good; others are tried again at the next turn."""
        observe.log().error("cannot load", model=deployment.name, reason=reason)
        if deployment.state != "loading":
            return
        async with self._of(deployment) as work:
            if await store.set_state(work.tx, deployment, "failed", reason):
                key = {"model": deployment.model, "version": deployment.version, "digest": deployment.digest}
                work.say(DeploymentFailed(**key, reason=reason))

    async def _unload(self, name: str, plan: Plan) -> None:
        if self._data_plane.in_flight(name):
            return
        await self._residency.drop(name)
        if name in plan.foreign and name.count(".") == 2:
            await self._tell_difference(name, "absent", "ready", "unloaded")

    async def _tell_difference(self, name: str, expected: str, found: str, action: str) -> None:
        project, model, version = name.split(".")
        observe.log().warning("triton differed", model=name, expected=expected, found=found, action=action)
        try:
            async with self._relay.work(Context(project=project)) as work:
                work.say(
                    DeploymentReconciled(
                        model=model,
                        version=int(version),
                        triton_name=name,
                        expected=expected,
                        found=found,
                        action=action,
                    )
                )
        except Unavailable as error:
            observe.log().warning("difference not told", model=name, error=error.message)

    async def _beat(self) -> None:
        """Tell the others what this node answers with, and the epoch once its old versions have nothing in flight."""
        draining = [name for name, found in self._routing.wanted.items() if found.state == "draining"]
        if not any(self._data_plane.in_flight(name) for name in draining):
            self._drained = self._routing.epoch
        given = self._residency.facts()
        held = sorted(given)
        node, seconds, asked = self._settings.node, self._settings.node_lease_seconds, time.monotonic()
        async with self._database.transaction() as tx:
            await store.beat(tx, node, seconds, self._routing.epoch, self._drained, held)
            await resources.give(tx, node, given)
        self._lease_until = asked + seconds

    async def leave(self) -> None:
        """Stop counting as a node, so that nobody waits for this one."""
        try:
            async with self._database.transaction() as tx:
                await store.leave(tx, self._settings.node)
        except Unavailable as error:
            observe.log().warning("left without telling", error=error.message)

    async def _advance(self) -> bool:
        """Move on what may move on; whether anything did."""
        async with self._database.connection() as connection:
            loaded = await store.loaded(connection)
            switchable, opened = await store.switchable(connection), await store.opened(connection)
            drained = await store.drained(connection)
            surplus = await store.surplus(connection, self._settings.staged_cap, self._settings.staged_hours * 3600)
        for deployment in loaded:
            await self._stage(deployment)
        for route in switchable:
            await self._switch(route)
        for route in opened:
            await self._announce(route)
        for deployment in drained:
            await self._unstage(deployment, "another version took over")
        for deployment in surplus:
            await self._unstage(deployment, "staged versions are capped in number and time")
        return bool(loaded or switchable or opened or drained or surplus)

    async def _stage(self, deployment: Deployment) -> None:
        async with self._of(deployment) as work:
            if await store.set_state(work.tx, deployment, "staged"):
                work.say(
                    DeploymentStaged(
                        model=deployment.model,
                        version=deployment.version,
                        digest=deployment.digest,
                        triton_name=deployment.name,
                    )
                )

    async def _switch(self, found: Route) -> None:
        """A model's first version answers before it is said: until then a node may hold that there is none."""
        async with self._relay.work(Context.from_headers(found.context)) as work:
            deployment = await store.find(work.tx, found.project, found.model, found.wanted_version)
            route = await store.find_route(work.tx, found.project, found.model)
            if deployment is None or deployment.state != "staged" or route != found:
                return
            epoch = await store.switch(work.tx, route)
            if route.version is not None:
                await self._say_switched(work, deployment, route.version, epoch)
        self.wake()

    async def _announce(self, found: Route) -> None:
        """Say that a model's first version answers."""
        if found.version is None:
            return
        async with self._relay.work(Context.from_headers(found.context)) as work:
            deployment = await store.find(work.tx, found.project, found.model, found.version)
            if deployment is not None and deployment.state == "staged":
                await self._say_switched(work, deployment, None, found.epoch)

    async def _say_switched(self, work: Work[None], deployment: Deployment, previous: int | None, epoch: int) -> None:
        await store.set_state(work.tx, deployment, "serving")
        work.say(
            TrafficSwitched(
                model=deployment.model,
                version=deployment.version,
                digest=deployment.digest,
                previous_version=previous,
                epoch=epoch,
            )
        )

    async def _unstage(self, deployment: Deployment, reason: str) -> None:
        """A version that a batch asks stays until that has ended; the lock waits for one that is just accepted."""
        place = (deployment.project, deployment.model, deployment.version)
        async with self._of(deployment) as work:
            await store.find(work.tx, *place)
            if await batches.in_use(work.tx, *place) or await indexes.in_use(work.tx, *place):
                return
            if await store.set_state(work.tx, deployment, "unstaged", reason):
                key = {"model": deployment.model, "version": deployment.version, "digest": deployment.digest}
                work.say(DeploymentUnstaged(**key, reason=reason))

    @asynccontextmanager
    async def _of(self, deployment: Deployment) -> AsyncIterator[Work[None]]:
        """A transaction within the chain that brought the deployment here."""
        async with self._relay.work(Context.from_headers(deployment.context)) as work:
            yield work
