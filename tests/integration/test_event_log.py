"""The log of events in monitor: in pages, with filters, from a position or a time, each project its own."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.monitor.handlers import HANDLERS
from shared.errors import InvalidInput
from shared.events.evaluation import EvaluationCompleted
from shared.events.models import ModelArchived, VersionPromoted
from shared.events.training import EpochCompleted
from shared.rpc.monitor import ListEvents, Timeline
from shared.selection import Selection
from tests.integration.running import Ask, Running, asking, guarded_bus

START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)  # not so old that it is deleted


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def ask(nats: NatsServer, monitor: Running) -> AsyncIterator[Ask]:
    async with asking(nats) as ask:
        yield ask


def positions(found: Timeline) -> list[int]:
    return [event.position for event in found.events]


async def said(monitor: Running) -> None:
    """Six events, a minute apart; the last of another project."""
    for number, (event, envelope) in enumerate(
        [
            (EpochCompleted(task_id="t"), {"correlation_id": "c"}),
            (VersionPromoted(model="cnn"), {"actor": "ada"}),
            (EpochCompleted(task_id="t"), {"correlation_id": "c"}),
            (ModelArchived(model="cnn"), {"actor": "bob"}),
            (ModelArchived(model="mlp"), {"actor": "ada"}),
            (ModelArchived(model="mlp"), {"project": "other"}),
        ]
    ):
        given: dict[str, Any] = {"time": (START + timedelta(minutes=number)).isoformat()} | envelope
        await monitor.publish(event, **given)
    await monitor.settled()


async def test_filters_all_count_and_stay_within_the_project(monitor: Running, ask: Ask) -> None:
    await said(monitor)
    wanted: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [5, 4, 3, 2, 1]),
        ({"type": "ModelArchived"}, [5, 4]),
        ({"type": "model_archived", "about": "models/cnn"}, [4]),
        ({"type": "aimass.models.v1.VersionPromoted"}, [2]),
        ({"domain": "models"}, [5, 4, 2]),
        ({"about": "models"}, [5, 4, 2]),
        ({"about": "training/t"}, [3, 1]),
        ({"correlation_id": "c"}, [3, 1]),
        ({"actor": "ada", "domain": "models"}, [5, 2]),
        ({"until": START + timedelta(minutes=3)}, [3, 2, 1]),
        ({"since": START + timedelta(minutes=2)}, [3, 4, 5]),
        ({"since": START + timedelta(minutes=1), "until": START + timedelta(minutes=3)}, [2, 3]),
        ({"since": START + timedelta(hours=1)}, []),
    ]
    for filters, expected in wanted:
        assert (filters, positions(await ask(ListEvents(selection=Selection(**filters))))) == (filters, expected)
    other = await ask(ListEvents(), project="other")
    assert [(event.position, event.subject) for event in other.events] == [(6, "models/mlp")]


async def test_pages_go_on_where_they_ended(monitor: Running, ask: Ask) -> None:
    await said(monitor)
    first = await ask(ListEvents(limit=2))
    assert (positions(first), first.next, first.truncated) == ([5, 4], 4, True)
    second = await ask(ListEvents(limit=3, before=first.next))
    assert (positions(second), second.next) == ([3, 2, 1], None)
    forwards = await ask(ListEvents(limit=2, after=1))
    assert (positions(forwards), forwards.next) == ([2, 3], 3)
    assert positions(await ask(ListEvents(after=forwards.next, before=5))) == [4]


async def test_a_page_ends_where_a_message_is_full(monitor: Running, ask: Ask) -> None:
    for _ in range(4):
        await monitor.publish(EvaluationCompleted(report={"matrix": "x" * 300_000}))
    await monitor.settled()
    first = await ask(ListEvents())
    assert (positions(first), first.next) == ([4, 3], 3)
    assert positions(await ask(ListEvents(before=first.next))) == [2, 1]


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"type": "VersionPromotd"}, "type", "is VersionPromoted meant?"),
        ({"type": "VersionPromoted", "domain": "tasks"}, "type", "of the domain 'tasks'"),
        ({"domain": "model"}, "domain", "models"),
        ({"since": START, "until": START}, "until", "after since"),
    ],
)
async def test_what_can_never_be_is_refused_in_words(given: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        Selection(**given).check()
    assert refused.value.field == field


def test_types_of_others_pass() -> None:
    Selection(type="com.acme.Paid").check()
    Selection(domain="ext-acme", type="Paid").check()
