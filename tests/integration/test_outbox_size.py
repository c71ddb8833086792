"""An outbox that holds what was said for a day: what the relay asks of it does not cost more for that."""

import pytest
from pydantic import SecretStr

from shared import outbox
from shared.db import Database
from shared.outbox import Relay
from shared.settings import ServiceSettings
from tests.conftest import DatabaseUrls

STORED = """
INSERT INTO outbox (id, bucket, subject, headers, payload, created_at, published_at, dead_at)
SELECT uuidv7(), n % 8, 's', '{}', 'x', at, CASE WHEN $2 = 'sent' THEN at END, CASE WHEN $2 = 'dead' THEN at END
FROM generate_series(1, $1) AS n, (SELECT now() - $3::int * interval '1 hour') AS ago (at)
"""
GIVEN = ((3, "dead", 48), (2, "waiting", 48), (2500, "sent", 48), (20_000, "sent", 1))


@pytest.fixture
async def database(database_urls: DatabaseUrls) -> Database:
    database = Database(ServiceSettings(database_url=SecretStr(database_urls.url("registry"))))
    async with database.connection() as connection:
        for count, state, hours in GIVEN:
            await connection.execute(STORED, count, state, hours)
        await connection.execute("ANALYZE outbox")
    return database


async def test_what_was_published_two_days_ago_goes_and_nothing_else(database: Database) -> None:
    relay = Relay(database, "registry")
    await relay.prune()
    async with database.connection() as connection:
        left = await connection.fetch(
            "SELECT published_at IS NOT NULL AS sent, dead_at IS NOT NULL AS dead, count(*) FROM outbox GROUP BY 1, 2"
        )
    assert {tuple(row) for row in left} == {(True, False, 20_000), (False, True, 3), (False, False, 2)}
    lag = await relay.lag()
    assert (lag.waiting, lag.dead) == (2, 3) and lag.age == pytest.approx(2 * 86400, abs=600)
    await database.close()


@pytest.mark.parametrize(
    ("statement", "given"),
    [
        (outbox.LAG, ()),
        (outbox.PRUNE, (1000,)),
        (outbox.SELECT_BATCH, (1, 8, 100)),
        (outbox.MARK_PUBLISHED, ([1, 2],)),
    ],
    ids=["lag", "prune", "select", "mark"],
)
async def test_nothing_reads_all_of_it(database: Database, statement: str, given: tuple[object, ...]) -> None:
    async with database.transaction() as tx:
        plan = "\n".join(row[0] for row in await tx.fetch(f"EXPLAIN {statement}", *given))
    assert "Seq Scan on outbox" not in plan, plan
    await database.close()
