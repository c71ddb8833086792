"""SQL of rotated secrets and of the use of keys."""

from collections.abc import Sequence
from datetime import date, datetime

from services.auth.domain import ApiKey
from services.auth.store import COLUMNS, key_of
from shared.db import Connection

# Let a key count by another secret.
SAVE_DIGEST = "UPDATE api_keys SET digest = $2, prefix = $3 WHERE id = $1"
# Let the secret before count for a while; those whose time is over are of no use.
KEEP_ROTATED = "INSERT INTO rotated_secrets (digest, key_id, counts_until) VALUES ($1, $2, $3)"
PRUNE_ROTATED = "DELETE FROM rotated_secrets WHERE counts_until < now()"
# Let no secret before count any more.
FORGET_ROTATED = "DELETE FROM rotated_secrets WHERE key_id = $1 RETURNING digest"
# Secrets before that still count, by digest or by key: each as its key with its own digest and end, held as keys are.
LOCK_COUNTING = f"""
SELECT {COLUMNS}, rotated.old_digest, rotated.counts_until
FROM (SELECT digest AS old_digest, key_id, counts_until FROM rotated_secrets
      WHERE (digest = ANY($1) OR key_id = ANY($1)) AND counts_until > now()) rotated
JOIN api_keys ON api_keys.id = rotated.key_id WHERE revoked_at IS NULL ORDER BY id FOR UPDATE OF api_keys
"""
# When keys were last used.
NOTE_USE = """
UPDATE api_keys SET last_used_at = GREATEST(last_used_at, used.at)
FROM unnest($1::text[], $2::timestamptz[]) AS used (id, at) WHERE api_keys.id = used.id
"""
# Add to the days of keys; a key that nobody knows has none.
COUNT_DAYS = """
INSERT INTO key_days (key_id, day, requests)
SELECT k.id, $2, given.requests FROM unnest($1::text[], $3::bigint[]) AS given (id, requests)
JOIN api_keys k ON k.id = given.id ORDER BY k.id
ON CONFLICT (key_id, day) DO UPDATE SET requests = key_days.requests + EXCLUDED.requests
"""
# The requests of keys on a day.
DAY = "SELECT key_id, requests FROM key_days WHERE key_id = ANY($1) AND day = $2"
# Days that are over count for nothing.
PRUNE_DAYS = "DELETE FROM key_days WHERE day < $1::date - 2"


async def save_rotated(tx: Connection, new: ApiKey, old: ApiKey, counts_until: datetime) -> None:
    await tx.execute(PRUNE_ROTATED)
    await tx.execute(SAVE_DIGEST, new.id, new.digest, new.prefix)
    await tx.execute(KEEP_ROTATED, old.digest, old.id, counts_until)


async def forget_rotated(tx: Connection, key_id: str) -> list[str]:
    return [row["digest"] for row in await tx.fetch(FORGET_ROTATED, key_id)]


async def lock_counting(tx: Connection, names: Sequence[str]) -> list[ApiKey]:
    found = []
    for row in await tx.fetch(LOCK_COUNTING, list(names)):
        facts = dict(row)
        digest, until = facts.pop("old_digest"), facts.pop("counts_until")
        found.append(key_of(facts | {"digest": digest, "expires_at": until}))
    return found


async def note_use(tx: Connection, used: dict[str, datetime]) -> None:
    await tx.execute(NOTE_USE, list(used), list(used.values()))


async def count_day(tx: Connection, day: date, requests: dict[str, int]) -> dict[str, int]:
    """Add to the day; what stands there now."""
    await tx.execute(COUNT_DAYS, list(requests), day, list(requests.values()))
    await tx.execute(PRUNE_DAYS, day)
    return {row["key_id"]: row["requests"] for row in await tx.fetch(DAY, list(requests), day)}
