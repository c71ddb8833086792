"""A token bucket as one number: the moment at which it is full again (GCRA); whole nanoseconds, so that it is exact."""

import math
from dataclasses import dataclass
from typing import NamedTuple

SECOND = 1_000_000_000
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Limit:
    """So many at once, one more each `interval` nanoseconds, and so many a day of UTC; 0 is without."""

    burst: int
    interval: int
    daily: int = 0

    @classmethod
    def of(cls, rate: float | None, burst: int | None = None, daily: int | None = None) -> "Limit | None":
        """None where nothing is limited; a burst that is not given is what comes in one second."""
        if rate is None:
            return cls(0, 0, daily) if daily else None
        return cls(burst or max(1, math.ceil(rate)), math.ceil(SECOND / rate), daily or 0)

    def share(self, replicas: int) -> "Limit":
        """What one of so many replicas goes on with when it reaches no other; 1 at least, or nobody would get in."""
        burst, daily = self.burst and max(1, self.burst // replicas), self.daily and max(1, self.daily // replicas)
        return Limit(burst, self.interval * replicas, daily)


class Grant(NamedTuple):
    """How many of those that were wanted may go on; what is left, and the nanoseconds until it is all there again.

    `wait` are those until one more may, where none may now. `left_today` counts where there is a daily quota.
    """

    given: int
    left: int
    full_in: int
    wait: int
    left_today: int


@dataclass(slots=True)
class Account:
    """What one identity has used; `day` is the number of the day that `used` counts."""

    full_at: int = 0
    day: int = 0
    used: int = 0

    def take(self, limit: Limit, now: int, day: int, wanted: int = 1) -> Grant:
        if day != self.day:
            self.day, self.used = day, 0
        given, left_today = wanted, 0
        if limit.daily:
            left_today = max(0, limit.daily - self.used)
            given = min(given, left_today)
        if not limit.burst:
            self.used += given
            return Grant(given, 0, 0, 0, left_today - given)
        owed = max(0, self.full_at - now)
        given = min(given, max(0, (limit.burst * limit.interval - owed) // limit.interval))
        owed += given * limit.interval
        self.full_at = now + owed
        if limit.daily:
            self.used += given
        left = max(0, (limit.burst * limit.interval - owed) // limit.interval)
        wait = 0 if left else owed - (limit.burst - 1) * limit.interval
        return Grant(given, left, owed, wait, max(0, left_today - given))

    def give_back(self, limit: Limit, count: int) -> None:
        self.full_at -= count * limit.interval
        self.used = max(0, self.used - count)

    def is_unused(self, now: int, day: int) -> bool:
        """Whether a new one would be the same."""
        return self.full_at <= now and (self.day != day or not self.used)
