"""Limits over all replicas: each identity's account is kept by one of them, and the others lease from it in batches.

What is leased is taken from the account first, so that no more than the limit ever gets in. A lease that is not used
goes back. Without the bus each replica goes on with its share.
"""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import nats.errors
from nats.aio.msg import Msg

from services.gateway.limits.bucket import DAY_SECONDS, SECOND, Account, Grant, Limit
from services.gateway.limits.members import Members
from shared import observe
from shared.bus import Bus
from shared.names import new_id

HERE_SUBJECT = "gateway.limits.here"
LEASE_SUBJECT = "gateway.limits.lease"
GONE = "-"
TICK_SECONDS = 0.1
BEAT_SECONDS = 1.0
ASK_SECONDS = 0.25
LEASE_PART = 4
LEASE_OF_A_SECOND = 20
SWEEP_SECONDS = 10.0
LOST = (nats.errors.Error, TimeoutError, ValueError, OSError)


@dataclass(slots=True)
class Lease:
    """What a replica may let in without asking, and until when it knows that there is no more."""

    limit: Limit
    count: int = 0
    blocked_until: int = 0
    apart_until: int = 0
    is_touched: bool = True
    last: Grant = Grant(0, 0, 0, 0, 0)
    asking: "asyncio.Task[None] | None" = None


def batch(limit: Limit, seen: Grant, replicas: int) -> int:
    """How many to lease at once: a part of what is left, so that leases shrink to one where the limit is near.

    Of a fast limit it is what comes in 50 ms at least.
    """
    parts = []
    if limit.burst:
        of_time = SECOND // (limit.interval * LEASE_OF_A_SECOND)
        parts.append(min(limit.burst, max(seen.left // (LEASE_PART * replicas), of_time)))
    if limit.daily:
        parts.append(seen.left_today // (LEASE_PART * replicas))
    return max(1, min(parts))


class Shares:
    """Takes one request from the account of an identity, wherever it is kept."""

    def __init__(self, bus: Bus, on_new_day: Callable[[str], None] = lambda _: None) -> None:
        self._bus = bus
        self.members = Members(new_id(), time.monotonic)
        self._accounts: dict[str, Account] = {}
        self._apart: dict[str, Account] = {}
        self._leases: dict[str, Lease] = {}
        self._is_cut_off = False
        self._is_listening = False
        self._on_new_day = on_new_day
        self.day = int(time.time()) // DAY_SECONDS

    def take(self, identity: str, limit: Limit) -> Grant | None:
        """One of them, at once; None where its keeper has to be asked."""
        now = time.monotonic_ns()
        if self._is_cut_off:
            return self._take_apart(identity, limit, now)
        if self.members.home(identity) == self.members.me:
            return self._at_home(identity, limit, now, 1)
        lease = self._leases.get(identity)
        if lease is None or lease.limit != limit:
            return None
        lease.is_touched = True
        if lease.count:
            lease.count -= 1
            return lease.last._replace(given=1, left=lease.last.left + lease.count)
        if lease.blocked_until > now:
            return lease.last._replace(wait=lease.blocked_until - now)
        return self._take_apart(identity, limit, now) if lease.apart_until > now else None

    async def ask(self, identity: str, limit: Limit) -> Grant:
        """Lease some from the keeper and take one; those who want it at the same time ask together."""
        while (grant := self.take(identity, limit)) is None:
            lease = self._leases.get(identity)
            if lease is None or lease.limit != limit:
                lease = self._leases[identity] = Lease(limit)
            if lease.asking is None or lease.asking.done():
                lease.asking = asyncio.create_task(self._lease(identity, lease))
            await asyncio.shield(lease.asking)
        return grant

    def give_back(self, identity: str, limit: Limit) -> None:
        """One that was taken and not used."""
        if lease := self._leases.get(identity):
            lease.count += 1
        elif account := self._accounts.get(identity):
            account.give_back(limit, 1)

    def learn(self, identity: str, used: int) -> None:
        """What the identity used today as auth has it, which outlasts gateways."""
        if account := self._accounts.get(identity):
            account.used = max(account.used, used)

    def _at_home(self, identity: str, limit: Limit, now: int, wanted: int) -> Grant:
        account = self._accounts.get(identity)
        if account is None:
            account = self._accounts[identity] = Account()
            if limit.daily:
                self._on_new_day(identity)
        return account.take(limit, now, self.day, wanted)

    def _take_apart(self, identity: str, limit: Limit, now: int) -> Grant:
        account = self._apart.get(identity) or self._apart.setdefault(identity, Account())
        return account.take(limit.share(len(self.members)), now, self.day)

    async def _lease(self, identity: str, lease: Lease) -> None:
        keeper = self.members.home(identity)
        limit = lease.limit
        try:
            asked = json.dumps([identity, limit.burst, limit.interval, limit.daily]).encode()
            reply = await self._bus.connection.request(f"{LEASE_SUBJECT}.{keeper}", asked, timeout=ASK_SECONDS)
            grant = Grant(*json.loads(reply.data))
        except LOST as error:
            observe.log().debug("limits kept apart", keeper=keeper, error=repr(error))
            lease.apart_until = time.monotonic_ns() + SECOND
            return
        lease.last, lease.count = grant, lease.count + grant.given
        lease.blocked_until = 0 if grant.given else time.monotonic_ns() + (grant.wait or SECOND)

    async def _on_lease(self, message: Msg) -> None:
        """Another replica wants some, or gives back what it did not use."""
        identity, burst, interval, daily, *given_back = json.loads(message.data)
        limit = Limit(burst, interval, daily)
        if given_back:
            if account := self._accounts.get(identity):
                account.give_back(limit, given_back[0])
            return
        now = time.monotonic_ns()
        seen = self._at_home(identity, limit, now, 0)
        grant = self._at_home(identity, limit, now, batch(limit, seen, len(self.members)))
        await self._bus.connection.publish(message.reply, json.dumps(grant).encode())

    async def _on_here(self, message: Msg) -> None:
        node = message.data.decode("ascii", "replace")
        if node.startswith(GONE):
            self.members.forget(node.removeprefix(GONE))
        elif self.members.hear(node):
            await self._say(self.members.me)

    async def _say(self, word: str) -> None:
        with suppress(*LOST):
            await self._bus.connection.publish(HERE_SUBJECT, word.encode())

    async def _listen(self) -> None:
        if not self._is_listening:
            await self._bus.connection.subscribe(HERE_SUBJECT, cb=self._on_here)
            await self._bus.connection.subscribe(f"{LEASE_SUBJECT}.{self.members.me}", cb=self._on_lease)
            self._is_listening = True

    async def run(self) -> None:
        """Say that this replica is there, notice who is not any more, and give back what is not used."""
        await self._listen()
        beaten = swept = 0.0
        while True:
            self.day = int(time.time()) // DAY_SECONDS
            self._look_at_bus()
            if time.monotonic() - beaten >= BEAT_SECONDS and not self._is_cut_off:
                beaten = time.monotonic()
                self.members.forget_silent()
                await self._say(self.members.me)
            await self._give_back_unused()
            if time.monotonic() - swept >= SWEEP_SECONDS:
                swept = time.monotonic()
                self._sweep()
            await asyncio.sleep(TICK_SECONDS if len(self.members) > 1 else BEAT_SECONDS)

    def _look_at_bus(self) -> None:
        is_away = not self._bus.is_connected()
        if self._is_cut_off and not is_away:
            self.members.excuse()
            self._apart.clear()
        self._is_cut_off = is_away and len(self.members) > 1

    async def _give_back_unused(self) -> None:
        for identity, lease in list(self._leases.items()):
            if lease.is_touched:
                lease.is_touched = False
                continue
            if lease.asking is None or lease.asking.done():
                await self._give_back(identity, self._leases.pop(identity))

    async def _give_back(self, identity: str, lease: Lease) -> None:
        keeper, limit = self.members.home(identity), lease.limit
        if not lease.count or keeper == self.members.me:
            return
        given = json.dumps([identity, limit.burst, limit.interval, limit.daily, lease.count]).encode()
        with suppress(*LOST):
            await self._bus.connection.publish(f"{LEASE_SUBJECT}.{keeper}", given)

    def _sweep(self) -> None:
        """Forget accounts that a new one would be the same as."""
        now = time.monotonic_ns()
        for accounts in (self._accounts, self._apart):
            for identity in [name for name, account in accounts.items() if account.is_unused(now, self.day)]:
                del accounts[identity]

    async def close(self) -> None:
        """Let the others know at once."""
        for identity in list(self._leases):
            await self._give_back(identity, self._leases.pop(identity))
        await self._say(GONE + self.members.me)
