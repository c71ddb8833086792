"""Lets a caller in or not: from an address that is his, and no more often than he may."""

import math
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from services.gateway import metrics
from services.gateway.credentials import Principal
from services.gateway.limits.addresses import Origins, check_address, household
from services.gateway.limits.bucket import DAY_SECONDS, SECOND, Grant, Limit
from services.gateway.limits.shares import Shares
from services.gateway.limits.uses import Uses
from services.gateway.settings import Settings
from shared.errors import TooManyRequests

Headers = list[tuple[bytes, bytes]]


class Claim(NamedTuple):
    """An account that a request is taken from; `name` is how its policy is called in headers."""

    name: str
    identity: str
    limit: Limit


@dataclass(slots=True)
class Ticket:
    """A request that is limited: what it is taken from, and what each of these accounts said."""

    claims: tuple[Claim, ...]
    key_id: str = ""
    grants: list[Grant] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        return len(self.grants) < len(self.claims) and all(grant.given for grant in self.grants)

    def headers(self, today_left: int) -> Headers:
        """As draft-ietf-httpapi-ratelimit-headers has it: what may be, what is left, and when it is all there again."""
        policies, states = [], []
        for claim, grant in zip(self.claims, self.grants, strict=False):
            limit = claim.limit
            if limit.burst:
                window = max(1, math.ceil(limit.burst * limit.interval / SECOND))
                policies.append(f'"{claim.name}";q={limit.burst};w={window}')
                states.append(f'"{claim.name}";r={grant.left};t={math.ceil((grant.wait or grant.full_in) / SECOND)}')
            if limit.daily:
                policies.append(f'"day";q={limit.daily};w={DAY_SECONDS}')
                states.append(f'"day";r={grant.left_today};t={today_left}')
        return [(b"ratelimit-policy", ", ".join(policies).encode()), (b"ratelimit", ", ".join(states).encode())]


class Limits:
    """What counts for all, and in its place for a key that says otherwise; without either nothing is limited."""

    def __init__(self, settings: Settings, shares: Shares, uses: Uses) -> None:
        self.shares, self.uses = shares, uses
        self.origins = Origins(settings.trusted_proxies)
        self._each = Limit.of(settings.rate, settings.burst)
        self._stranger = Limit.of(settings.anonymous_rate, settings.anonymous_burst)
        self._project = Limit.of(settings.project_rate, settings.project_burst)

    def enter(self, principal: Principal, address: str) -> Ticket | None:
        """None for who is not limited. Raises Forbidden for an address that is not for this key."""
        limit = self._each
        key_id = principal.key_id if principal.epoch is None else ""
        if (rules := principal.rules) is not None:
            check_address(address, rules.addresses)
            limit = rules.limit(limit)
        if not principal.key_id:
            return self._of_stranger(address)
        if limit is None and self._project is None:
            if key_id:
                self._count(key_id)
            return None
        ticket = Ticket(self._claims(principal, limit), key_id)
        self._take(ticket)
        return ticket

    def _of_stranger(self, address: str) -> Ticket | None:
        if self._stranger is None:
            return None
        ticket = Ticket((Claim("address", f"address/{household(address)}", self._stranger),))
        self._take(ticket)
        return ticket

    def _claims(self, principal: Principal, limit: Limit | None) -> tuple[Claim, ...]:
        mine = (Claim("requests", principal.key_id, limit),) if limit else ()
        if self._project is None:
            return mine
        return (*mine, Claim("project", f"project/{principal.project}", self._project))

    def _take(self, ticket: Ticket) -> None:
        for claim in ticket.claims[len(ticket.grants) :]:
            grant = self.shares.take(claim.identity, claim.limit)
            if grant is None:
                return
            ticket.grants.append(grant)
            if not grant.given:
                return
        if ticket.key_id:
            self._count(ticket.key_id)

    def _count(self, key_id: str) -> None:
        counts = self.uses.counts
        counts[key_id] = counts.get(key_id, 0) + 1

    async def settle(self, ticket: Ticket) -> None:
        """Ask those who keep the accounts, where that has to be."""
        while ticket.waits:
            claim = ticket.claims[len(ticket.grants)]
            ticket.grants.append(await self.shares.ask(claim.identity, claim.limit))
            if ticket.grants[-1].given:
                self._take(ticket)

    def check(self, ticket: Ticket) -> None:
        """Raises TooManyRequests where one of the accounts has nothing left; what others gave goes back."""
        if ticket.grants[-1].given:
            return
        for claim, grant in zip(ticket.claims, ticket.grants, strict=False):
            if grant.given:
                self.shares.give_back(claim.identity, claim.limit)
        claim, grant = ticket.claims[len(ticket.grants) - 1], ticket.grants[-1]
        metrics.LIMITED.labels(claim.name).inc()
        is_of_day = bool(claim.limit.daily) and not grant.left_today
        wait = self.today_left() if is_of_day else max(1, math.ceil(grant.wait / SECOND))
        raise TooManyRequests(_why(claim, is_of_day), retry_after=wait)

    def headers(self, ticket: Ticket | None) -> Headers:
        return [] if ticket is None else ticket.headers(self.today_left())

    def today_left(self) -> int:
        """Seconds until the day of UTC is over."""

        return DAY_SECONDS - int(time.time()) % DAY_SECONDS

    async def close(self) -> None:
        await self.shares.close()
        await self.uses.close()

    async def admit(self, principal: Principal, address: str) -> Ticket | None:
        """Enter, wait where a keeper is to be asked, and be let in or not."""
        ticket = self.enter(principal, address)
        if ticket is not None:
            await self.settle(ticket)
        return ticket


def _why(claim: Claim, is_of_day: bool) -> str:
    if is_of_day:
        return f"this API key has used its {claim.limit.daily} requests of today; the day ends at midnight UTC"
    whose = {"address": "this address", "project": "this project"}.get(claim.name, "you")
    a_second = f"{SECOND / claim.limit.interval:g}"
    return f"too many requests: {whose} may make {a_second} a second, {claim.limit.burst} at once; wait and try again"
