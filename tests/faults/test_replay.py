"""Every event of the history once more, in another order: nothing changes, and a lost projection comes back whole."""

import asyncio
import random
from typing import Any

import nats
import psycopg

from shared.names import new_id
from tests.audit import UNDISTURBED
from tests.faults.job import settled
from tests.faults.mixed.bus import said_headers
from tests.faults.table import trial
from tests.house import House

SEED = 20261124
# A version staged once is evaluated beside each champion once: this event alone means more when it is heard anew.
REMEMBERED = "DeploymentStaged"


async def history(house: House) -> list[Any]:
    connection = await nats.connect(house.stack.info["nats"])
    stream = connection.jetstream()
    last = (await stream.stream_info("EVT")).state.last_seq
    found = [await stream.get_msg("EVT", sequence) for sequence in range(1, last + 1)]
    await connection.close()
    return found


async def publish(house: House, messages: list[Any]) -> None:
    """The same events as new messages, which the stream does not know as repeats."""
    connection = await nats.connect(house.stack.info["nats"])
    stream = connection.jetstream()
    for message in messages:
        headers = said_headers(message) | {"Nats-Msg-Id": new_id()}
        await stream.publish(message.subject, message.data, headers=headers)
    await connection.close()


def replay(house: House) -> None:
    messages = asyncio.run(history(house))
    random.Random(SEED).shuffle(messages)
    asyncio.run(publish(house, messages))


def forget(house: House) -> None:
    """Have everyone hear its events as if for the first time, and monitor begin with empty tables."""
    kept = f"SELECT source || '|' || id FROM monitor.timeline WHERE type LIKE '%.{REMEMBERED}'"
    with psycopg.connect(house.stack.info["postgres"], autocommit=True) as connection:
        for service in ("registry", "inference", "evaluator"):
            connection.execute(f"DELETE FROM {service}.inbox WHERE event_id NOT IN ({kept})")  # type: ignore[arg-type]
        connection.execute("TRUNCATE monitor.inbox, monitor.task_list, monitor.timeline")


def test_all_events_once_more_in_another_order(house: House, finished: str) -> None:
    with trial("all events duplicated and reordered"):
        replay(house)
        assert settled(house, finished, whole=True) == UNDISTURBED


def test_all_events_in_another_order_as_if_never_heard(house: House, finished: str) -> None:
    """Older sequences lose against newer ones, whatever the inboxes know."""
    with trial("all events reordered, inboxes lost, projections of monitor rebuilt"):
        forget(house)
        replay(house)
        assert settled(house, finished, whole=True) == UNDISTURBED
