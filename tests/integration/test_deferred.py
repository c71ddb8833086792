"""Deferred requests on a real database and bus: bounds, projects, leases and fences, retention."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.inference.deferred.domain import MOST_ATTEMPTS
from services.inference.settings import Settings
from services.inference.webhooks.domain import MOST_WEBHOOKS
from shared import frames
from shared.errors import AimassError, Conflict, NotFound, TooManyPending, Unavailable
from shared.events.inference import InferenceCancelled, InferenceCompleted, InferenceFailed
from shared.rpc.inference import (
    CancelInference,
    CreateWebhook,
    DeleteWebhook,
    GetInference,
    GetInferenceAnswer,
    ListInferences,
    ListWebhooks,
)
from shared.settings import ServiceSettings
from tests.integration.deferred_desk import MODEL, Desk, Model, echo, open_desk
from tests.integration.running import until

MOST = 5


@pytest.fixture
async def desk(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Desk]:
    common = settings_of("inference").model_dump()
    settings = Settings(**common, deferred_max=MOST, deferred_bytes=1000, deferred_lease_seconds=1)
    async with open_desk(settings, nats) as opened:
        yield opened


async def test_a_model_of_another_project_answers_in_the_name_of_who_asks(desk: Desk) -> None:
    asked: list[tuple[str, str, str]] = []
    model = Model()

    async def answer(project: str, name: str, request: frames.Request) -> frames.Reply:
        asked.append((project, name, request.credential))
        return await echo(request)

    model.answer = answer  # type: ignore[method-assign]
    made = await desk.defer(project="third", model=f"default.{MODEL}")
    with pytest.raises(NotFound, match="is not deployed"):
        await desk.defer(project="third")
    with pytest.raises(NotFound, match="there is no inference"):
        await desk.ask(GetInference(id=made.id))
    async with desk.working(desk.node(model)):

        async def is_done() -> bool:
            return (await desk.ask(GetInference(id=made.id), "third")).state == "done"

        await until(is_done)
    assert asked == [("default", MODEL, "third/ada")]


async def answer_of(desk: Desk, inference_id: str) -> tuple[int, bytes]:
    found = await desk.ask(GetInferenceAnswer(id=inference_id))
    return found.status, bytes(await desk.bodies.fetch(found.name))


async def test_no_project_has_more_than_its_share(desk: Desk) -> None:
    """However many come at the same time."""
    outcomes = await asyncio.gather(*(desk.defer() for _ in range(3 * MOST)), return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, TooManyPending)]
    assert len(outcomes) - len(refused) == MOST
    assert {(one.status, one.retry_after) for one in refused} == {(429, 5)}
    await desk.defer(project="other")
    with pytest.raises(TooManyPending, match="1000"):
        await desk.defer(bytes(999), project="other")
    async with desk.working(desk.node(Model())):
        await desk.becomes(next(one.id for one in outcomes if not isinstance(one, BaseException)), "done")
        await until(lambda: is_accepted(desk))


async def is_accepted(desk: Desk) -> bool:
    try:
        await desk.defer()
    except TooManyPending:
        return False
    return True


async def test_a_repeat_is_the_same_request(desk: Desk) -> None:
    context = {"idempotency_key": "one"}
    first = await desk.defer(b"one", context=context)
    assert (await desk.defer(b"one", context=context)).id == first.id
    with pytest.raises(Conflict, match="one"):
        await desk.defer(b"another", context=context)
    assert (await desk.defer(b"one", "other", context=context)).id != first.id


async def test_nothing_of_another_project_is_seen(desk: Desk) -> None:
    mine = await desk.defer()
    await desk.ask(CreateWebhook(name="w", url="https://example.com/"))
    for request in (GetInference(id=mine.id), GetInferenceAnswer(id=mine.id), CancelInference(id=mine.id)):
        with pytest.raises(NotFound):
            await desk.ask(request, "other")
    with pytest.raises(NotFound):
        await desk.ask(DeleteWebhook(name="w"), "other")
    assert (await desk.ask(ListInferences(), "other")).inferences == []
    assert (await desk.ask(ListWebhooks(), "other")).webhooks == []
    with pytest.raises(AimassError, match="no webhook 'w'"):
        await desk.defer(project="other", webhook="w")
    assert (await desk.show(mine.id)).state == "queued"


async def test_no_project_has_endless_webhooks(desk: Desk) -> None:
    rows = (
        "INSERT INTO webhooks SELECT 'default', 'w' || n, 'u', 's', 'ada' FROM generate_series(1, $1) n RETURNING name"
    )
    await desk.running.rows(rows, MOST_WEBHOOKS)
    with pytest.raises(Conflict, match=str(MOST_WEBHOOKS)):
        await desk.ask(CreateWebhook(name="w", url="https://example.com/"))
    await desk.ask(DeleteWebhook(name="w1"))
    await desk.ask(CreateWebhook(name="w", url="https://example.com/"))


async def test_what_is_not_deployed_is_refused(desk: Desk) -> None:
    for facts in ({"model": "unknown"}, {"version": 2}, {"version": None}):
        with pytest.raises(NotFound, match="deployed"):
            await desk.defer(**facts)


async def test_nodes_share_the_work_and_each_request_is_answered_once(desk: Desk) -> None:
    models = [Model(), Model(), Model()]
    wanted = {}
    async with desk.working(*(desk.node(model) for model in models)):
        for number in range(4):
            bodies = [f"{number}-{turn}".encode() for turn in range(MOST)]
            accepted = await asyncio.gather(*(desk.defer(body) for body in bodies))
            wanted |= {one.id: body for one, body in zip(accepted, bodies, strict=True)}
            for one in accepted:
                await desk.becomes(one.id, "done")
    asked = [inference_id for model in models for inference_id in model.asked]
    assert sorted(asked) == sorted(wanted)
    for inference_id, body in wanted.items():
        assert await answer_of(desk, inference_id) == (200, body)
    assert sorted(event.inference_id for event in await desk.running.said(InferenceCompleted)) == sorted(wanted)


def failing(*statuses: int) -> Callable[[frames.Request], Any]:
    """These answers first, then the echo."""
    left = list(statuses)

    async def script(request: frames.Request) -> frames.Reply:
        if not left:
            return await echo(request)
        return frames.Reply(request.prediction_id, left.pop(0), b'{"error": "not now"}', retry_after=1)

    return script


async def test_what_passes_is_waited_for(desk: Desk) -> None:
    accepted = await desk.defer(b"body")
    async with desk.working(desk.node(Model(failing(503, 504)))):
        shown = await desk.becomes(accepted.id, "done")
    assert (shown.attempts, shown.note, await answer_of(desk, accepted.id)) == (3, "", (200, b"body"))


async def test_a_store_that_is_away_is_waited_for(desk: Desk, tmp_path: Path) -> None:
    """That is no fault of the request."""
    accepted, node = await desk.defer(b"body"), desk.node(Model())
    folder = tmp_path / "artifacts" / "deferred"
    folder.rename(away := folder.with_name("away"))
    folder.touch()
    async with desk.working(node):
        await until(lambda: notes(desk, accepted.id))
        folder.unlink()
        away.rename(folder)
        shown = await desk.becomes(accepted.id, "done")
    assert (shown.attempts, await answer_of(desk, accepted.id)) == (1, (200, b"body"))


async def notes(desk: Desk, inference_id: str) -> bool:
    return "object store" in (await desk.show(inference_id)).note


async def test_what_never_passes_is_given_up(desk: Desk) -> None:
    """With the last answer, which says when to come again."""
    accepted = await desk.defer()
    await desk.running.rows("UPDATE inferences SET attempts = $1 RETURNING id", MOST_ATTEMPTS - 1)
    async with desk.working(desk.node(Model(failing(503)))):
        shown = await desk.becomes(accepted.id, "failed")
    assert (shown.status, shown.note, shown.attempts) == (503, "not now", MOST_ATTEMPTS)
    assert (await desk.ask(GetInferenceAnswer(id=accepted.id))).retry_after == 1
    [told] = await desk.running.said(InferenceFailed)
    assert (told.status, told.reason, told.attempts) == (503, "not now", MOST_ATTEMPTS)


async def test_what_kills_its_nodes_is_given_up_without_a_call(desk: Desk) -> None:
    accepted = await desk.defer()
    dead = "UPDATE inferences SET state = 'running', attempts = $1, lease_until = now() RETURNING id"
    await desk.running.rows(dead, MOST_ATTEMPTS - 1)
    model = Model()
    async with desk.working(desk.node(model)):
        shown = await desk.becomes(accepted.id, "failed")
    assert (shown.status, model.asked) == (500, [])


async def test_who_has_lost_the_lease_changes_nothing(desk: Desk) -> None:
    """A node that stands still while another answers, and then goes on."""
    gate = asyncio.Event()

    async def frozen(request: frames.Request) -> frames.Reply:
        await gate.wait()
        return frames.Reply(request.prediction_id, 200, b"too late", "1")

    accepted = await desk.defer(b"in time")
    slow, quick = desk.node(Model(frozen)), desk.node(Model())
    standing = asyncio.create_task(slow.run())
    await desk.becomes(accepted.id, "running")
    standing.cancel()
    async with desk.working(quick):
        shown = await desk.becomes(accepted.id, "done")
        assert shown.attempts == 2
        gate.set()
        await until(lambda: is_only(desk, f"{accepted.id.replace('-', '')}-2-answer"))
    assert await answer_of(desk, accepted.id) == (200, b"in time")
    assert len(await desk.running.said(InferenceCompleted)) == 1


async def is_only(desk: Desk, name: str) -> bool:
    return await desk.kept() == [name]


async def test_what_is_cancelled_in_work_stays_so(desk: Desk) -> None:
    gate = asyncio.Event()

    async def waiting(request: frames.Request) -> frames.Reply:
        await gate.wait()
        return await echo(request)

    accepted = await desk.defer()
    async with desk.working(desk.node(Model(waiting))):
        await desk.becomes(accepted.id, "running")
        for _ in range(2):
            assert (await desk.ask(CancelInference(id=accepted.id))).state == "cancelled"
        gate.set()
        await until(lambda: is_empty(desk))
    with pytest.raises(Conflict, match="cancelled") as refused:
        await desk.ask(GetInferenceAnswer(id=accepted.id))
    assert refused.value.retry_after is None
    assert [event.actor for event in await desk.running.said(InferenceCancelled)] == ["ada"]
    assert await desk.running.said(InferenceCompleted) == []


async def is_empty(desk: Desk) -> bool:
    return await desk.kept() == []


async def test_a_node_that_stops_gives_its_work_back(desk: Desk) -> None:
    async def never(_: frames.Request) -> frames.Reply:
        await asyncio.Event().wait()
        raise AssertionError

    accepted = await desk.defer()
    async with desk.working(desk.node(Model(never), deferred_lease_seconds=1000)):
        await desk.becomes(accepted.id, "running")
    shown = await desk.show(accepted.id)
    assert (shown.state, shown.attempts) == ("queued", 0)


async def test_who_waits_too_long_hears_why(desk: Desk) -> None:
    async def away(_: frames.Request) -> frames.Reply:
        raise Unavailable("the model is away")

    accepted = await desk.defer()
    async with desk.working(desk.node(Model(away), deferred_hours=1 / 3600)):
        shown = await desk.becomes(accepted.id, "failed")
    assert (shown.status, shown.note) == (503, "the model is away")


async def test_answers_are_kept_for_a_while_and_strays_are_dropped(desk: Desk) -> None:
    waiting, accepted = await desk.defer(b"waits"), await desk.defer()
    await desk.running.rows("UPDATE inferences SET run_after = now() + interval '1 hour' WHERE id = $1", waiting.id)
    cleaning = desk.cleaning(deferred_answer_hours=1e-6)
    async with desk.working(desk.node(Model())):
        await desk.becomes(accepted.id, "done")
    name = accepted.id.replace("-", "")
    for stray in (f"{name}-request", f"{name}-9-answer", f"{'0' * 32}-request"):
        await desk.bodies.keep(stray, b"stray")
    await cleaning.drop_strays(-60)
    assert sorted(await desk.kept()) == sorted([f"{name}-1-answer", f"{waiting.id.replace('-', '')}-request"])
    running = asyncio.create_task(cleaning.run())
    await until(lambda: is_only(desk, f"{waiting.id.replace('-', '')}-request"))
    running.cancel()
    with pytest.raises(NotFound):
        await desk.show(accepted.id)
    assert (await desk.show(waiting.id)).state == "queued"
