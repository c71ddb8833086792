"""All SQL of search indexes: a row for each, and a table for the documents of each of its generations.

A generation has the id of the task that makes it, so that it is written by one task alone and goes at once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.inference.search.domain import Document
from shared.db import Connection

EXPLORED = 2

_ID = re.compile(r"^[0-9a-z-]{1,60}$")
_WORDS = "(SELECT replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery AS query)"


@dataclass(frozen=True)
class Index:
    """A row of the table indexes."""

    project: str
    name: str
    model: str
    version: int
    input: str
    output: str
    dimensions: int
    documents: int
    generation: str
    updated_at: datetime | None = None


COLUMNS = "project, name, model, version, input, output, dimensions, documents, generation, updated_at"
FIND = f"SELECT {COLUMNS} FROM indexes WHERE project = $1 AND name = $2"
# Of one index, to be changed.
FIND_FOR_UPDATE = FIND + " FOR UPDATE"
# Of one index, which nobody changes meanwhile.
FIND_FOR_SHARE = FIND + " FOR SHARE"
LIST = f"SELECT {COLUMNS} FROM indexes WHERE project = $1 ORDER BY name"
# From now on searches are answered by this generation.
SAVE = """
INSERT INTO indexes (project, name, model, version, input, output, dimensions, documents, generation)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (project, name) DO UPDATE SET model = excluded.model, version = excluded.version, input = excluded.input,
    output = excluded.output, dimensions = excluded.dimensions, documents = excluded.documents,
    generation = excluded.generation, updated_at = now()
"""
SEARCH_SETTINGS = "SELECT set_config('enable_indexscan', $1, true), set_config('hnsw.ef_search', $2, true)"
DELETE = "DELETE FROM indexes WHERE project = $1 AND name = $2"
# Whether an index of its project is asked by a version's vectors; others' hold nothing here.
IN_USE = "SELECT EXISTS (SELECT FROM indexes WHERE project = $1 AND model = $2 AND version = $3)"


def table(generation: str) -> str:
    """The table of a generation; its id becomes SQL, so it is looked at first."""
    if not _ID.fullmatch(generation):
        raise ValueError(f"{generation!r} is no id of a task")
    return f'"{generation}"'


async def find(tx: Connection, project: str, name: str, query: str = FIND) -> Index | None:
    row = await tx.fetchrow(query, project, name)
    return Index(**row) if row else None


async def all_of(tx: Connection, project: str) -> list[Index]:
    return [Index(**row) for row in await tx.fetch(LIST, project)]


async def in_use(tx: Connection, project: str, model: str, version: int) -> bool:
    return bool(await tx.fetchval(IN_USE, project, model, version))


async def save(tx: Connection, index: Index) -> None:
    facts = (index.project, index.name, index.model, index.version, index.input, index.output)
    await tx.execute(SAVE, *facts, index.dimensions, index.documents, index.generation)


async def delete(tx: Connection, index: Index) -> None:
    await tx.execute(DELETE, index.project, index.name)
    await drop(tx, index.generation)


async def begin(tx: Connection, generation: str, dimensions: int) -> int:
    """Make the table of a generation where it is missing; returns how many documents it has."""
    await tx.execute(f"""
        CREATE TABLE IF NOT EXISTS {table(generation)} (
            number integer PRIMARY KEY,
            id text NOT NULL UNIQUE,
            text text NOT NULL,
            attributes text NOT NULL DEFAULT '{{}}',
            words tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('english', text)) STORED,
            embedding vector({dimensions:d}) NOT NULL
        )
    """)
    for name, way in (("words", "gin (words)"), ("vectors", "hnsw (embedding vector_cosine_ops)")):
        made = table(f"{generation}-{name}")
        await tx.execute(f"CREATE INDEX IF NOT EXISTS {made} ON {table(generation)} USING {way}")
    return int(await tx.fetchval(f"SELECT count(*) FROM {table(generation)}"))


async def drop(tx: Connection, generation: str) -> None:
    await tx.execute(f"DROP TABLE IF EXISTS {table(generation)}")


async def repeated(tx: Connection, generation: str, ids: Sequence[str]) -> str | None:
    """An id that is twice among these, or among the documents already."""
    found = await tx.fetchval(
        "SELECT id FROM unnest($1::text[]) AS given (id) GROUP BY id HAVING count(*) > 1 "
        f"UNION ALL SELECT id FROM {table(generation)} WHERE id = ANY($1::text[]) LIMIT 1",
        list(ids),
    )
    return None if found is None else str(found)


async def add(
    tx: Connection, generation: str, start: int, documents: Sequence[Document], vectors: Sequence[str]
) -> None:
    """Add documents, the first of which has this number, and their vectors as PostgreSQL reads them."""
    rows = [
        (start + place, *document, vector)
        for place, (document, vector) in enumerate(zip(documents, vectors, strict=True))
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    await tx.execute(
        f"INSERT INTO {table(generation)} (number, id, text, attributes, embedding) "
        "SELECT number, id, text, attributes, embedding::vector "
        "FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::text[]) "
        "AS rows (number, id, text, attributes, embedding)",
        *columns,
    )


async def by_words(tx: Connection, generation: str, query: str, limit: int) -> list[int]:
    """Numbers of the documents that have any of the words, those first that have more of them nearer together."""
    rows = await tx.fetch(
        f"SELECT number FROM {table(generation)}, {_WORDS} AS asked WHERE words @@ query "
        "ORDER BY ts_rank_cd(words, query, 1) DESC, number LIMIT $2",
        query,
        limit,
    )
    return [row["number"] for row in rows]


async def by_vector(tx: Connection, generation: str, vector: str, limit: int, *, exact: bool) -> list[int]:
    """Numbers of the documents whose vectors point most nearly where this one does: of all that are looked at one by
    one, or of those to which the graph of neighbours leads (HNSW: Malkov and Yashunin, 2018).
    """
    await tx.execute(SEARCH_SETTINGS, "off" if exact else "on", str(EXPLORED * limit))
    rows = await tx.fetch(
        f"SELECT number FROM {table(generation)} ORDER BY embedding <=> $1::text::vector LIMIT $2", vector, limit
    )
    return [row["number"] for row in rows]


async def documents(tx: Connection, generation: str, numbers: Sequence[int]) -> dict[int, Document]:
    """Documents by their numbers."""
    rows = await tx.fetch(
        f"SELECT number, id, text, attributes FROM {table(generation)} WHERE number = ANY($1)", list(numbers)
    )
    return {row["number"]: Document(row["id"], row["text"], row["attributes"]) for row in rows}
