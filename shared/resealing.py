"""Resealing: secrets in tables come to be sealed with the key that seals now, whatever sealed them before."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared import observe
from shared.db import Database
from shared.errors import AimassError
from shared.looking import keep_looking
from shared.sealing import KeyFile, NotOurs

LOOK_SECONDS = 15.0
PORTION = 100


@dataclass(frozen=True)
class Sealed:
    """A column of sealed secrets; `context` is the SQL of what each is for, `clear` a column that holds older ones."""

    table: str
    column: str
    context: str
    clear: str = "NULL::text"

    @property
    def to_seal(self) -> str:
        """Secrets that the current key has not sealed, held."""
        older = f"substring({self.column} FROM 2 FOR 8) <> $1"
        return (
            f"SELECT ctid, {self.context} AS context, {self.column} AS sealed, {self.clear} AS clear FROM {self.table} "
            f"WHERE {self.clear} IS NOT NULL OR {older} LIMIT {PORTION} FOR UPDATE SKIP LOCKED"
        )

    @property
    def keep(self) -> str:
        """Keep a secret as it is sealed now."""
        cleared = "" if self.clear.startswith("NULL") else f", {self.clear} = NULL"
        return f"UPDATE {self.table} SET {self.column} = $2{cleared} WHERE ctid = $1"


class Resealing:
    """Looks again and again: a key may be added at any time."""

    def __init__(self, database: Database, keys: KeyFile, columns: Sequence[Sealed]) -> None:
        self._database, self._keys, self._columns = database, keys, columns
        self._problem = ""

    async def run(self) -> None:
        await keep_looking("secrets", self.look, LOOK_SECONDS)

    async def problem(self) -> str:
        return self._problem

    async def look(self) -> bool:
        """Seal a portion of each column; whether there may be more."""
        sealed = [await self._reseal(column) for column in self._columns]
        self._problem = ""
        return PORTION in sealed

    async def _reseal(self, column: Sealed) -> int:
        sealer = self._keys.sealer()
        async with self._database.transaction() as tx:
            rows = await tx.fetch(column.to_seal, sealer.current)
            for row in rows:
                try:
                    secret = row["clear"].encode() if row["clear"] else sealer.open(row["sealed"], row["context"])
                except NotOurs:
                    self._problem = f"{row['context']} cannot be opened: restore the file of keys from the backup"
                    raise AimassError(self._problem) from None
                await tx.execute(column.keep, row["ctid"], sealer.seal(secret, row["context"]))
        if rows:
            observe.log().info("secrets sealed", table=column.table, count=len(rows))
        return len(rows)
