"""The plan of the bus at a real server: what is made, changed, refused and left, and that nothing is lost by it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig
from pydantic import SecretStr

from deploy import bus
from deploy.bus import Refused, plan_bus, provision_bus
from deploy.bus_plan import Action, Plan, Step
from deploy.embedded.testing_servers import NatsServer, nats_server
from shared.bus import Bus
from shared.errors import Drift
from shared.settings import ServiceSettings
from shared.streams import STREAMS

STREAM = StreamConfig(
    name="S",
    subjects=["s.>"],
    max_age=86400.0,
    max_bytes=1024**2,
    max_msgs_per_subject=100,
    discard=DiscardPolicy.NEW,
    duplicate_window=120,
    allow_direct=True,
)
READER = ConsumerConfig(
    name="reader",
    durable_name="reader",
    filter_subjects=["s.a", "s.b"],
    ack_wait=30,
    max_deliver=-1,
    max_ack_pending=64,
)
WANTED = [("S", READER)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def js(server: NatsServer) -> AsyncIterator[JetStreamContext]:
    """The stream with three messages, of which the reader has handled the first one, s.a."""
    connection = await nats.connect(server.url)
    stream = connection.jetstream(timeout=60)
    await provision_bus(server.url, WANTED, [STREAM])
    for subject in ("s.a", "s.b", "s.c"):
        await stream.publish(subject, b"x" * 100)
    subscription = await stream.pull_subscribe_bind("reader", "S")
    [first] = await subscription.fetch(1, timeout=60)
    await first.ack_sync(timeout=60)
    yield stream
    for info in await stream.streams_info():
        await stream.delete_stream(info.config.name or "")
    await connection.close()


def step(plan: Plan, what: str) -> Step:
    return next(step for step in plan.steps if step.what == what)


async def test_subjects_that_come_while_they_are_counted_do_not_hold_it_up(
    server: NatsServer, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page then holds what an earlier one did."""
    tell = bus._Bus._state

    async def tell_and_go_on(looking: bus._Bus, name: str, **asked: Any) -> dict[str, Any]:
        state = await tell(looking, name, **asked)
        if asked.get("offset") == 0:
            await js.publish("s.0", b"")
        return state

    monkeypatch.setattr(bus._Bus, "_state", tell_and_go_on)
    plan = await plan_bus(server.url, WANTED, [STREAM])
    assert [each.action for each in plan.steps] == [Action.SAME, Action.SAME]


async def test_it_is_made_once_and_then_as_declared(server: NatsServer, js: JetStreamContext) -> None:
    again = await provision_bus(server.url, WANTED, [STREAM])
    assert [each.action for each in again.steps] == [Action.SAME, Action.SAME]
    assert not again.changes and not again.refused


async def test_all_declared_streams_are_as_declared_once_made(server: NatsServer, js: JetStreamContext) -> None:
    first = await provision_bus(server.url, [])
    assert {each.what for each in first.steps if each.action is Action.MAKE} == {stream.name for stream in STREAMS}
    again = await plan_bus(server.url, [])
    assert {each.what for each in again.steps if each.action is Action.SAME} == {stream.name for stream in STREAMS}


async def test_looking_at_the_plan_changes_nothing(server: NatsServer, js: JetStreamContext) -> None:
    plan = await plan_bus(server.url, WANTED, [STREAM.evolve(max_age=2 * 86400.0), StreamConfig(name="T")])
    assert step(plan, "S").notes == ("max_age: 1 d -> 2 d",)
    assert step(plan, "T").action is Action.MAKE
    assert plan.changes and not plan.refused
    assert (await js.stream_info("S")).config.max_age == 86400
    assert [info.config.name for info in await js.streams_info()] == ["S"]


async def test_what_loses_nothing_is_changed(server: NatsServer, js: JetStreamContext) -> None:
    wider = [("S", READER.evolve(filter_subjects=["s.a", "s.b", "s.d"], ack_wait=60))]
    plan = await provision_bus(server.url, wider, [STREAM.evolve(max_bytes=2 * 1024**2, subjects=["s.>", "t"])])
    assert step(plan, "S").action is step(plan, "S/reader").action is Action.CHANGE
    info = await js.consumer_info("S", "reader")
    assert (info.config.ack_wait, info.config.filter_subjects) == (60, ["s.a", "s.b", "s.d"])
    assert (await js.stream_info("S")).config.subjects == ["s.>", "t"]
    assert (info.ack_floor.stream_seq if info.ack_floor else 0) == 1


LOSSES = {
    "size": (STREAM.evolve(max_bytes=200), "bytes are stored"),
    "number": (STREAM.evolve(max_msgs=2), "3 messages are stored"),
    "age": (STREAM.evolve(max_age=0.001, duplicate_window=0.001), "would be deleted"),
    "retention": (STREAM.evolve(retention=RetentionPolicy.WORK_QUEUE), "cannot change this of a stream"),
    "subjects": (STREAM.evolve(subjects=["s.a", "s.b"]), "what is stored of s.c would have no stream"),
}


@pytest.mark.parametrize("case", sorted(LOSSES))
async def test_what_would_lose_messages_is_refused(server: NatsServer, js: JetStreamContext, case: str) -> None:
    changed, reason = LOSSES[case]
    with pytest.raises(Refused, match=reason):
        await provision_bus(server.url, WANTED, [StreamConfig(name="BEFORE", subjects=["before"]), changed])
    assert [info.config.name for info in await js.streams_info()] == ["S"]
    state = (await js.stream_info("S")).state
    assert state.messages == 3


async def test_more_of_a_subject_than_is_to_be_kept_is_refused(server: NatsServer, js: JetStreamContext) -> None:
    await js.publish("s.a", b"second")
    with pytest.raises(Refused, match=r"what is stored of s\.a would be deleted in part"):
        await provision_bus(server.url, WANTED, [STREAM.evolve(max_msgs_per_subject=1)])
    assert (await js.stream_info("S")).state.messages == 4


async def test_a_filter_that_would_skip_is_refused(server: NatsServer, js: JetStreamContext) -> None:
    with pytest.raises(Refused, match=r"what is stored of s\.b is not handled yet and would be skipped"):
        await provision_bus(server.url, [("S", READER.evolve(filter_subjects=["s.a"]))], [STREAM])
    assert (await js.consumer_info("S", "reader")).num_pending == 1


async def test_a_filter_that_drops_only_what_is_handled_is_changed(server: NatsServer, js: JetStreamContext) -> None:
    plan = await provision_bus(server.url, [("S", READER.evolve(filter_subjects=["s.b"]))], [STREAM])
    assert step(plan, "S/reader").action is Action.CHANGE
    assert (await js.consumer_info("S", "reader")).num_pending == 1


async def test_what_stays_unheard_is_said(server: NatsServer, js: JetStreamContext) -> None:
    subscription = await js.pull_subscribe_bind("reader", "S")
    [second] = await subscription.fetch(1, timeout=60)
    await second.ack_sync(timeout=60)
    await js.publish("s.a", b"")
    [third] = await subscription.fetch(1, timeout=60)
    await third.ack_sync(timeout=60)
    plan = await plan_bus(server.url, [("S", READER.evolve(filter_subjects=["s.a", "s.b", "s.c"]))], [STREAM])
    assert "what is stored of s.c came before its position and stays unheard" in step(plan, "S/reader").notes
    assert not plan.refused


async def test_what_would_lose_a_position_is_refused(server: NatsServer, js: JetStreamContext) -> None:
    with pytest.raises(Refused, match="deleting it loses its position"):
        await provision_bus(server.url, [("S", READER.evolve(ack_policy=AckPolicy.NONE))], [STREAM])
    assert (await js.consumer_info("S", "reader")).ack_floor is not None


async def test_what_nobody_declared_is_shown_and_left(server: NatsServer, js: JetStreamContext) -> None:
    await js.add_stream(name="FOREIGN", subjects=["foreign"])
    plan = await provision_bus(server.url, [], [STREAM])
    assert {each.what: each.action for each in plan.steps if each.action is Action.LEAVE} == {
        "FOREIGN": Action.LEAVE,
        "S/reader": Action.LEAVE,
    }
    assert "1 to come" in str(step(plan, "S/reader"))


async def test_a_service_says_the_drift_of_a_stream_in_words(server: NatsServer, js: JetStreamContext) -> None:
    settings = ServiceSettings(
        nats_url=server.servers, nats_user="admin", nats_password=SecretStr(server.users["admin"].password)
    )
    bus = Bus("admin", settings)
    await bus.connect()
    await bus.check_stream(STREAM)
    drift = STREAM.evolve(max_age=5 * 86400.0, subjects=["s.>", "t"])
    with pytest.raises(Drift, match=r"stream S: subjects is s\.>, expected s\.>, t; max_age is 1 d, expected 5 d: run"):
        await bus.check_stream(drift)
    with pytest.raises(Drift, match="stream T does not exist: run"):
        await bus.check_stream(StreamConfig(name="T"))
    with pytest.raises(Drift, match="consumer S/reader: ack_wait is 30 s, expected 1 min: run"):
        await bus.check_consumer("S", READER.evolve(ack_wait=60))
    await bus.stop()
