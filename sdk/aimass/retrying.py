"""Which failures pass by themselves, and how long a request waits before it is sent again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from aimass.calls import Exchange, Flow, Pause, Request
from aimass.errors import ApiError, TooManyAttempts, Unavailable

FIRST_PAUSE = 0.2
DEADLINE = "X-Request-Timeout-Ms"
LONGEST_TOLD = 120.0  # what a gateway takes


@dataclass(frozen=True)
class Policy:
    """Seconds that a call may take in all, how often it is tried again, and whether the platform is told of its end."""

    seconds: float
    retries: int = 2
    told: bool = False

    def pause(self, error: ApiError, request: Request, number: int) -> float | None:
        """Seconds to wait after this failure of attempt `number`; None where another is of no use or not safe."""
        if number > self.retries or not may_go_again(error, request):
            return None
        if error.retry_after is not None:
            return error.retry_after
        return FIRST_PAUSE * 2.0 ** (number - 1) * random.uniform(0.5, 1)


def may_go_again(error: ApiError, request: Request) -> bool:
    """Whether the request was refused before anything was done, or may be done twice, and the failure can pass."""
    if isinstance(error, TooManyAttempts) or not error.was_sent:
        return True
    if isinstance(error, Unavailable):
        return request.safe or error.retry_after is not None
    return False


def attempts(request: Request, policy: Policy, clock: Callable[[], float] = time.monotonic) -> Flow[httpx.Response]:
    """Send a request until it is answered, refused for good, or out of time."""
    end = clock() + policy.seconds
    number = 0
    while True:
        number += 1
        left = max(end - clock(), 0.001)
        try:
            return (yield from Exchange(request, left, _told(left) if policy.told else {}))
        except ApiError as error:
            pause = policy.pause(error, request, number)
            if pause is None or clock() + pause >= end:
                raise
        yield Pause(pause)


def _told(seconds: float) -> dict[str, str]:
    return {DEADLINE: str(max(int(min(seconds, LONGEST_TOLD) * 1000), 1))}
