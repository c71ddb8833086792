"""The promises of the bus, on a real NATS and a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import nats as nats_client
import pytest
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from deploy.embedded.testing_servers import NatsServer
from deploy.provision import provision_bus_over
from shared import outbox
from shared.context import Context
from shared.envelope import Envelope
from shared.errors import Conflict, Drift, NotFound, TooLarge, Unavailable
from shared.events.training import EpochCompleted, TrainingCompleted, TrainingFailed
from shared.handlers import Handlers
from shared.rpc.registry import GetModel, ModelView
from shared.rpc.trainer import SubmitTask, TaskAccepted
from shared.service import Service
from shared.settings import ServiceSettings
from shared.work import Work

DEADLINE = 60


@dataclass
class Parts:
    seen: list[Any] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)


async def on_event(event: Any, work: Work[Parts]) -> None:
    await work.tx.execute("CREATE TABLE IF NOT EXISTS effects (value text)")
    await work.tx.execute("INSERT INTO effects VALUES ($1)", event.task_id)
    if work.parts.failures:
        raise work.parts.failures.pop(0)
    work.parts.seen.append(event)
    work.say(TrainingFailed(task_id=event.task_id))


async def get_model(request: GetModel, work: Work[Parts]) -> ModelView:
    if request.model == "unknown":
        raise NotFound("there is no model 'unknown'", field="model")
    if request.model == "large":
        return ModelView(name="x" * 2**20, project=work.project)
    return ModelView(name=request.model, project=work.project)


async def submit_task(request: SubmitTask, work: Work[Parts]) -> TaskAccepted:
    work.parts.seen.append(request)
    return TaskAccepted(id=f"train-{len(work.parts.seen)}")


HANDLERS = Handlers(
    "registry", events={TrainingCompleted: on_event}, rpc={GetModel: get_model, SubmitTask: submit_task}
)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
async def admin(nats: NatsServer) -> AsyncIterator[Any]:
    connection = await nats_client.connect(nats.url)
    yield connection
    await connection.close()


@asynccontextmanager
async def running(settings: ServiceSettings, parts: Parts) -> AsyncIterator[Service]:
    service = Service("registry", settings)
    service.handle(HANDLERS, parts)
    task = asyncio.create_task(service.run())
    await until(lambda: service.readiness.problems() == {} or task.done())
    if task.done():
        await task
    yield service
    service.stop()
    await task


@pytest.fixture
async def service(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings]
) -> AsyncIterator[tuple[Service, Parts]]:
    await provision_bus_over(nats.url, [HANDLERS.declaration])
    parts = Parts()
    async with running(settings_of("registry"), parts) as started:
        yield started, parts


async def publish(admin: Any, event: Any, envelope: Envelope | None = None, payload: bytes | None = None) -> Envelope:
    envelope = envelope or Envelope(type=event.type_name(), source="trainer", subject=event.aggregate)
    body = event.model_dump_json().encode() if payload is None else payload
    await admin.jetstream().publish(event.subject("default"), body, headers=envelope.to_headers())
    return envelope


async def effects(service: Service) -> int:
    assert service.database
    async with service.database.connection() as connection:
        exists = await connection.fetchval("SELECT to_regclass('effects')")
        return int(await connection.fetchval("SELECT count(*) FROM effects")) if exists else 0


async def pending(admin: Any) -> int:
    info = await admin.jetstream().consumer_info("EVT", "registry")
    return int(info.num_ack_pending + info.num_pending)


async def dead_letters(admin: Any) -> int:
    return int((await admin.jetstream().stream_info("DLQ")).state.messages)


async def settled(admin: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while await pending(admin):
            await asyncio.sleep(0.05)


async def test_an_event_is_handled_once_and_its_reply_published(admin: Any, service: tuple[Service, Parts]) -> None:
    started, parts = service
    envelope = await publish(admin, TrainingCompleted(task_id="t1", metrics={"accuracy": 0.5}))
    await settled(admin)
    await admin.jetstream().publish(  # the same event past the stream's deduplication
        "evt.default.training.v1.training_completed",
        TrainingCompleted(task_id="t1").model_dump_json().encode(),
        headers=envelope.to_headers() | {"Nats-Msg-Id": "another"},
    )
    await settled(admin)
    assert [event.task_id for event in parts.seen] == ["t1"]
    assert parts.seen[0].metrics == {"accuracy": 0.5}
    assert await effects(started) == 1
    subscription = await admin.jetstream().subscribe("evt.default.training.v1.training_failed")
    said = await subscription.next_msg(timeout=DEADLINE)
    assert said.headers["ce-causationid"] == envelope.id
    assert said.headers["ce-sequence"] == "1"


async def test_transient_failure_comes_back_and_leaves_nothing(admin: Any, service: tuple[Service, Parts]) -> None:
    started, parts = service
    parts.failures += [Unavailable("blip"), OSError("blip")]
    await publish(admin, TrainingCompleted(task_id="t2"))
    await until(lambda: parts.seen)
    await settled(admin)
    assert await effects(started) == 1
    assert await dead_letters(admin) == 0


@pytest.mark.parametrize("failure", [NotFound("no such thing"), ValueError("bad")])
async def test_permanent_failure_goes_to_the_dead_letters(
    admin: Any, service: tuple[Service, Parts], failure: Exception
) -> None:
    started, parts = service
    parts.failures.append(failure)
    await publish(admin, TrainingCompleted(task_id="t3"))
    await settled(admin)
    assert await dead_letters(admin) == 1
    assert await effects(started) == 0
    letter = await admin.jetstream().get_msg("DLQ", 1)
    assert letter.headers["aimass-error-class"] == type(failure).__name__
    assert letter.headers["aimass-subject"] == "evt.default.training.v1.training_completed"


async def test_unknown_errors_are_tried_a_few_times(admin: Any, service: tuple[Service, Parts]) -> None:
    _, parts = service
    parts.failures += [KeyError("bug") for _ in range(20)]
    await publish(admin, TrainingCompleted(task_id="t4"))
    await settled(admin)
    assert await dead_letters(admin) == 1
    assert len(parts.failures) == 15


@pytest.mark.parametrize("payload", [b"{", b'{"metrics": 3}', b"\xff\xfe"])
async def test_unreadable_bodies_go_to_the_dead_letters(
    admin: Any, service: tuple[Service, Parts], payload: bytes
) -> None:
    await publish(admin, TrainingCompleted(task_id="t5"), payload=payload)
    await publish(admin, TrainingCompleted(task_id="t6"))
    await settled(admin)
    assert await dead_letters(admin) == 1
    assert [event.task_id for event in service[1].seen] == ["t6"]


async def test_unknown_types_go_to_the_dead_letters(admin: Any, service: tuple[Service, Parts]) -> None:
    event = TrainingCompleted(task_id="t7")
    await publish(admin, event, Envelope(type=EpochCompleted.type_name(), source="x", subject="y"))
    await admin.jetstream().publish(event.subject("default"), b"{}")
    await settled(admin)
    assert await dead_letters(admin) == 2


async def test_structured_mode_is_accepted(admin: Any, service: tuple[Service, Parts]) -> None:
    body = (
        b'{"specversion":"1.0","id":"1","source":"x","type":"aimass.training.v1.TrainingCompleted",'
        b'"data":{"taskId":"t8"}}'
    )
    headers = {"Content-Type": "application/cloudevents+json"}
    await admin.jetstream().publish(TrainingCompleted.subject("default"), body, headers=headers)
    await until(lambda: service[1].seen)
    assert service[1].seen[0].task_id == "t8"


async def test_requests_are_answered_with_replies_and_errors(service: tuple[Service, Parts]) -> None:
    started, _ = service
    reply = await started.bus.ask(GetModel(model="digits-cnn"), Context(project="default"))
    assert reply.name == "digits-cnn"
    with pytest.raises(NotFound, match="no model 'unknown'") as caught:
        await started.bus.ask(GetModel(model="unknown"), Context())
    assert caught.value.field == "model"
    with pytest.raises(Unavailable, match="evaluator is not running"):
        await started.bus.ask(GetModel(model="x"), Context(), service="evaluator")


async def ask_until_it_has_ended(settings: ServiceSettings, admin: Any) -> list[Any]:
    subject, asked = GetModel(model="x").subject(), GetModel(model="x").model_dump_json().encode()
    answers: list[asyncio.Task[Any]] = []
    async with running(settings, Parts()) as started:
        asyncio.get_running_loop().call_later(0.1, started.stop)
        while not answers or not answers[-1].done() or answers[-1].exception() is None:
            answers += [asyncio.create_task(admin.request(subject, asked, timeout=5)) for _ in range(20)]
            await asyncio.sleep(0.002)
    return await asyncio.gather(*answers, return_exceptions=True)


async def test_nobody_waits_for_a_service_that_has_ended(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings], admin: Any
) -> None:
    """Asked without a pause while it ends: each gets an answer, or hears that nobody is there."""
    await provision_bus_over(nats.url, [HANDLERS.declaration])
    for _ in range(5):
        found = await ask_until_it_has_ended(settings_of("registry"), admin)
        assert {type(one) for one in found} == {Msg, NoRespondersError}


async def test_an_answer_that_does_not_fit_says_so(service: tuple[Service, Parts]) -> None:
    with pytest.raises(TooLarge, match="ask for less"):
        await service[0].bus.ask(GetModel(model="large"), Context())


async def test_an_idempotency_key_gives_the_same_reply(service: tuple[Service, Parts]) -> None:
    started, parts = service
    context = Context(idempotency_key="k1")
    ask = SubmitTask(model="digits-cnn")
    first = await started.bus.ask(ask, context, service="registry")
    assert await started.bus.ask(ask, context, service="registry") == first
    assert len(parts.seen) == 1
    with pytest.raises(Conflict, match="'k1' was used for another request"):
        await started.bus.ask(SubmitTask(model="other"), context, service="registry")


OLD_ROWS = """
INSERT INTO inbox (consumer, event_id, handled_at) SELECT 'registry', day, now() - day * interval '1 day'
FROM unnest('{39,41}'::int[]) AS day;
INSERT INTO idempotency (project, key, request_hash, created_at) SELECT 'p', day, '', now() - day * interval '1 day'
FROM unnest('{29,31}'::int[]) AS day
"""


async def test_what_nobody_needs_any_more_is_dropped(service: tuple[Service, Parts]) -> None:
    started, _ = service
    assert started.database
    async with started.database.connection() as connection:
        await connection.execute(OLD_ROWS)
        await started.prune()
        left = await connection.fetch("SELECT event_id FROM inbox UNION ALL SELECT key FROM idempotency ORDER BY 1")
    assert [row[0] for row in left] == ["29", "39"]


async def test_a_missing_consumer_is_drift(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> None:
    await provision_bus_over(nats.url, [])
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(settings_of("registry"), Parts()):
            pass
    assert caught.group_contains(Drift)


async def test_fetching_goes_on_after_a_start_that_failed(
    admin: Any, service: tuple[Service, Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, parts = service
    assert started.dispatcher
    first, second = list(started.dispatcher.subscribers.values())[:2]
    start, starts = type(first).start, []

    async def fail_once(subscriber: Any) -> None:
        starts.append(subscriber)
        if starts == [first, second]:
            raise TimeoutError("the bus is slow")
        await start(subscriber)

    monkeypatch.setattr(type(first), "start", fail_once)
    await started._pause_fetching(True)
    await until(lambda: starts[:3] == [first, second, second])
    await publish(admin, TrainingCompleted(task_id="t11"))
    await until(lambda: parts.seen)


async def test_the_bus_may_go_and_come(admin: Any, service: tuple[Service, Parts], nats: NatsServer) -> None:
    started, parts = service
    nats.kill()
    assert started.database
    async with started.database.transaction() as tx:
        await outbox.write(tx, [TrainingFailed(task_id="t9")], Context(), "registry")
    await asyncio.sleep(0.5)
    nats.start()
    subscription = await admin.jetstream().subscribe("evt.default.training.v1.training_failed")
    assert (await subscription.next_msg(timeout=DEADLINE)).headers["ce-subject"] == "training/t9"
    await publish(admin, TrainingCompleted(task_id="t10"))
    await until(lambda: parts.seen)


async def say_together(service: Service, names: list[str]) -> list[str]:
    """The ids of what one transaction said, once the bus has it."""
    assert service.database and service.relay
    async with service.database.transaction() as tx:
        said = [TrainingFailed(task_id=name) for name in names]
        ids = await outbox.write(tx, said, Context(), "registry")
    await service.relay.wait_published(ids, DEADLINE)
    return ids


async def stored(admin: Any) -> list[dict[str, str]]:
    js = admin.jetstream()
    last = (await js.stream_info("EVT")).state.last_seq
    return [(await js.get_msg("EVT", number)).headers for number in range(1, last + 1)]


async def test_what_waits_is_published_together_and_in_its_order(admin: Any, service: tuple[Service, Parts]) -> None:
    names = [f"t{number}" for number in range(40)]
    await say_together(service[0], names)
    found = await stored(admin)
    assert [headers["ce-subject"] for headers in found] == [f"training/{name}" for name in names]
    assert len({headers["Nats-Batch-Id"] for headers in found}) == 1


async def test_one_that_the_bus_knows_holds_up_none_beside_it(admin: Any, service: tuple[Service, Parts]) -> None:
    """As after a kill between the bus's word and the mark: it refuses the whole batch, and each goes alone."""
    started, _ = service
    (known,) = await say_together(started, ["t1"])
    assert started.database
    async with started.database.transaction() as tx:
        await tx.execute("UPDATE outbox SET published_at = NULL WHERE id = $1", known)
        ids = await outbox.write(tx, [TrainingFailed(task_id="t2")], Context(), "registry")
    assert started.relay
    await started.relay.wait_published([known, *ids], DEADLINE)
    assert [headers["ce-subject"] for headers in await stored(admin)] == ["training/t1", "training/t2"]


async def test_one_that_does_not_fit_holds_up_none_beside_it(admin: Any, service: tuple[Service, Parts]) -> None:
    started, _ = service
    assert started.database and started.relay
    async with started.database.transaction() as tx:
        said = [TrainingFailed(task_id="t1", error_message="x" * 2**20), TrainingFailed(task_id="t2")]
        large, other = await outbox.write(tx, said, Context(), "registry")
    await started.relay.wait_published([other], DEADLINE)
    async with started.database.connection() as connection:
        assert await connection.fetchval("SELECT dead_at IS NOT NULL FROM outbox WHERE id = $1", large)
    assert [headers["ce-subject"] for headers in await stored(admin)] == ["training/t2"]
