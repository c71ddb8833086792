"""The audit on a real PostgreSQL and a real NATS: decisions are chained, and whoever alters them is found out."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.monitor.audit.domain import Entry, Head, chained
from services.monitor.handlers import HANDLERS
from shared.events import EVENTS
from shared.events.base import Event
from shared.events.bus import AuditAdvanced
from shared.events.identity import ApiKeyCreated
from shared.events.models import VersionPromoted
from shared.events.training import EpochCompleted
from shared.rpc.monitor import AuditVerification, ListAudit, VerifyAudit
from tests.integration.running import Ask, Running, asking, guarded_bus, until


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def ask(nats: NatsServer, monitor: Running) -> AsyncIterator[Ask]:
    async with asking(nats) as ask:
        yield ask


async def written(monitor: Running, count: int) -> None:
    """So many decisions, and what was said of them."""
    for number in range(count):
        await monitor.publish(ApiKeyCreated(key_id=f"k{number}", name="n", actor="ada"), actor="ada")
    await monitor.settled()
    assert len(await monitor.said(AuditAdvanced)) == count


async def test_decisions_are_kept_and_other_events_are_not(monitor: Running, ask: Ask) -> None:
    decisions = [kind for kind in EVENTS.values() if kind.audited]
    for kind in [*decisions, EpochCompleted]:
        event: Event = kind.model_validate({kind.about: "x"})
        await monitor.publish(event, actor="ada", causation_id="cause")
    await monitor.settled()
    found = (await ask(ListAudit())).entries
    assert {entry.type for entry in found} == {kind.type_name() for kind in decisions}
    assert {(entry.actor, entry.causation_id) for entry in found} == {("ada", "cause")}
    assert [entry.position for entry in found] == list(range(len(decisions), 0, -1))


async def test_who_what_and_why(monitor: Running, ask: Ask) -> None:
    event = VersionPromoted(model="cnn", version=2, forced=True, reason="the gate is wrong")
    await monitor.publish(event, actor="ada")
    await monitor.publish(ApiKeyCreated(key_id="k"), actor="bob")
    await monitor.settled()
    (entry,) = (await ask(ListAudit(type="VersionPromoted"))).entries
    assert (entry.actor, entry.reason, entry.subject) == ("ada", "the gate is wrong", "models/cnn")
    assert [found.actor for found in (await ask(ListAudit(actor="bob"))).entries] == ["bob"]
    assert not (await ask(ListAudit(), project="other")).entries
    assert [found.position for found in (await ask(ListAudit(before=2))).entries] == [1]


async def test_an_event_that_is_heard_again_is_one_entry(monitor: Running, ask: Ask) -> None:
    sent = await monitor.publish(ApiKeyCreated(key_id="k"))
    await monitor.settled()
    await monitor.rows("DELETE FROM inbox")
    await monitor.publish(ApiKeyCreated(key_id="k"), id=sent.id)
    await monitor.settled()
    assert len((await ask(ListAudit())).entries) == 1
    assert (await ask(VerifyAudit())).intact


async def test_many_at_once_are_one_chain(monitor: Running, ask: Ask) -> None:
    await written(monitor, 60)
    found = await ask(VerifyAudit())
    assert (found.intact, found.entries, found.published) == (True, 60, 60)


ALTERATIONS = {
    "an actor": ("UPDATE audit SET actor = 'eve' WHERE position = 3", 3),
    "what was said": ("UPDATE audit SET data = replace(data, 'n', 'm') WHERE position = 4", 4),
    "one taken out": ("DELETE FROM audit WHERE position = 2", 2),
    "the end cut off": ("DELETE FROM audit WHERE position > 4", 5),
    "all taken out": ("DELETE FROM audit", 1),
}


@pytest.mark.parametrize("name", ALTERATIONS)
async def test_an_alteration_is_found_and_named(monitor: Running, ask: Ask, name: str) -> None:
    await written(monitor, 6)
    query, position = ALTERATIONS[name]
    await monitor.rows(query)
    found: AuditVerification = await ask(VerifyAudit())
    assert (found.intact, found.position) == (False, position), found


async def test_a_chain_written_anew_is_found_by_what_the_bus_holds(monitor: Running, ask: Ask) -> None:
    """The database alone is sound again; what was published before, and is published after, gives it away."""
    await written(monitor, 4)
    rows = await monitor.rows("SELECT * FROM audit ORDER BY position")
    await monitor.rows("DELETE FROM audit")
    head = Head()
    for row in rows:
        entry = chained(Entry(**row | {"actor": "eve"}), head)
        head = Head(entry.position, entry.digest)
        names, places = ", ".join(vars(entry)), ", ".join(f"${place + 1}" for place in range(len(vars(entry))))
        await monitor.rows(f"INSERT INTO audit ({names}) VALUES ({places})", *vars(entry).values())
    await monitor.rows("UPDATE audit_head SET digest = $1", head.digest)
    await monitor.publish(ApiKeyCreated(key_id="later"))
    await monitor.settled()

    async def advanced() -> bool:
        return (await ask(VerifyAudit())).published == 5

    await until(advanced)
    found = await ask(VerifyAudit())
    assert (found.intact, found.position) == (False, 1)
    assert "published" in found.problem
