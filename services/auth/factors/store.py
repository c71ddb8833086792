"""All SQL of second factors."""

from typing import Any

from services.auth.factors.domain import Factor
from shared.db import Connection
from shared.resealing import Sealed

SECRETS = [Sealed("second_factors", "sealed", "'totp/' || user_id")]
COLUMNS = "user_id, sealed, confirmed_at, last_step, recovery"

# The factor of a user, held, so that a code at once in two requests counts once.
LOCK = f"SELECT {COLUMNS} FROM second_factors WHERE user_id = $1 FOR UPDATE"
# Keep a factor, in place of one before.
SAVE = f"""
INSERT INTO second_factors ({COLUMNS}) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id) DO UPDATE SET sealed = $2, confirmed_at = $3, last_step = $4, recovery = $5
"""
# Whether a user has a factor that counts.
HAS = "SELECT EXISTS (SELECT 1 FROM second_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL)"
# Forget a factor.
DELETE = "DELETE FROM second_factors WHERE user_id = $1 RETURNING confirmed_at IS NOT NULL"


async def lock(tx: Connection, user_id: str) -> Factor | None:
    row = await tx.fetchrow(LOCK, user_id)
    if row is None:
        return None
    fields: dict[str, Any] = dict(row)
    return Factor(**fields | {"recovery": tuple(row["recovery"])})


async def save(tx: Connection, factor: Factor) -> None:
    facts = (factor.confirmed_at, factor.last_step, list(factor.recovery))
    await tx.execute(SAVE, factor.user_id, factor.sealed, *facts)


async def has(tx: Connection, user_id: str) -> bool:
    return bool(await tx.fetchval(HAS, user_id))


async def delete(tx: Connection, user_id: str) -> bool:
    """Whether there was one that counted."""
    return bool(await tx.fetchval(DELETE, user_id))
