"""Which requests of the Python client are sent again, how often, and when it gives up."""

from collections.abc import Iterator
from typing import Any

import pytest
from aimass import errors
from aimass.calls import Exchange, Pause, Request, call
from aimass.retrying import DEADLINE, Policy, attempts

READING = Request("GET", "/api/v1/models", safe=True)
WRITING = Request("POST", "/api/v1/api-keys")
Outcome = errors.ApiError | str


def refused(kind: type[errors.ApiError], status: int, retry_after: float | None = None) -> errors.ApiError:
    return kind(status, "no", retry_after=retry_after)


def unsent() -> errors.ApiError:
    error = errors.Unavailable(0, "nobody listens")
    error.was_sent = False
    return error


def played(request: Request, policy: Policy, outcomes: list[Outcome]) -> tuple[Any, list[float]]:
    """What comes of a request whose attempts end like this, and the pauses between them; pauses move the clock."""
    now, pauses = [0.0], []
    flow = attempts(request, policy, clock=lambda: now[0])
    left: Iterator[Outcome] = iter(outcomes)
    step = next(flow)
    while True:
        try:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                now[0] += step.seconds
                step = flow.send(None)
                continue
            assert isinstance(step, Exchange)
            outcome = next(left)
            step = flow.throw(outcome) if isinstance(outcome, errors.ApiError) else flow.send(outcome)
        except StopIteration as end:
            return end.value, pauses
        except errors.ApiError as error:
            assert next(left, None) is None, "it gave up too early"
            return error, pauses


@pytest.mark.parametrize("failure", [refused(errors.Unavailable, 503), refused(errors.TooManyAttempts, 429), unsent()])
def test_a_safe_request_is_sent_again_after_what_passes(failure: errors.ApiError) -> None:
    assert played(READING, Policy(30), [failure, failure, "answer"])[0] == "answer"


@pytest.mark.parametrize(
    "failure",
    [
        refused(errors.NotFound, 404),
        refused(errors.Conflict, 409),
        refused(errors.DeadlineExceeded, 504),
        refused(errors.ApiError, 500),
    ],
)
def test_what_does_not_pass_is_told_at_once(failure: errors.ApiError) -> None:
    assert played(READING, Policy(30), [failure]) == (failure, [])


def test_what_may_have_been_done_is_not_done_twice() -> None:
    assert played(WRITING, Policy(30), [errors.Unavailable(0, "cut off")])[1] == []
    assert played(WRITING, Policy(30), [refused(errors.Unavailable, 503)])[1] == []


@pytest.mark.parametrize(
    "failure", [refused(errors.Unavailable, 503, retry_after=1), refused(errors.TooManyAttempts, 429), unsent()]
)
def test_what_was_surely_not_done_is_sent_again(failure: errors.ApiError) -> None:
    assert played(WRITING, Policy(30), [failure, "answer"])[0] == "answer"


def test_a_request_that_names_itself_is_safe() -> None:
    assert call("POST", "tasks", key="").request.safe
    assert call("POST", "tasks", key="mine").request.headers["Idempotency-Key"] == "mine"
    assert not call("POST", "users").request.safe


def test_attempts_are_counted() -> None:
    failure = refused(errors.Unavailable, 503)
    assert played(READING, Policy(30, retries=3), [failure] * 4)[0] is failure
    assert played(READING, Policy(30, retries=0), [failure]) == (failure, [])


def test_pauses_are_those_that_the_platform_asks_for() -> None:
    asked = refused(errors.Unavailable, 503, retry_after=7)
    assert played(READING, Policy(30), [asked, "answer"])[1] == [7]
    _, pauses = played(READING, Policy(30, retries=3), [unsent(), unsent(), unsent(), "answer"])
    assert pauses[0] < 0.21 and pauses == sorted(pauses)


def test_nothing_is_waited_for_beyond_the_deadline() -> None:
    asked = refused(errors.Unavailable, 503, retry_after=7)
    assert played(READING, Policy(5), [asked]) == (asked, [])


def test_each_attempt_has_what_is_left_of_the_time() -> None:
    flow = attempts(READING, Policy(10, told=True), clock=iter([0.0, 0.0, 4.0, 4.0]).__next__)
    first = next(flow)
    pause = flow.throw(refused(errors.Unavailable, 503, retry_after=1))
    second = flow.send(None)
    assert isinstance(first, Exchange) and isinstance(pause, Pause) and isinstance(second, Exchange)
    assert (first.seconds, first.headers) == (10, {DEADLINE: "10000"})
    assert (second.seconds, second.headers) == (6, {DEADLINE: "6000"})
