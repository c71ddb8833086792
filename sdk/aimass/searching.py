"""Search indexes: texts found by meaning and by words."""

import uuid
from pathlib import Path
from typing import Literal, TypedDict

from aimass import types as t
from aimass.connection import API, Connection


class SearchIndex(TypedDict):
    """A search index: how many documents it has, whose vectors, and the task that made it."""

    name: str
    model: str
    version: int
    dimensions: int
    documents: int
    task_id: str
    updated_at: str | None


class FoundDocument(TypedDict):
    """A document that was found, and its places by meaning and by words."""

    id: str
    text: str
    attributes: dict[str, str | int | float | bool | None]
    score: float
    vector_rank: int | None
    text_rank: int | None


class Searching:
    """What a client can do with search indexes."""

    _connection: Connection

    def build_index(
        self,
        name: str,
        file: Path,
        model: str,
        *,
        version: int | None = None,
        format: str | None = None,  # noqa: A002
        key: str = "",
    ) -> t.Accepted:
        """Submit a task that builds an index, or builds it anew, of a file with columns `id`, `text`, and
        `attributes` (an object of JSON) where documents have some.
        """
        params = {"model": model, "version": version, "format": format}
        headers = {"Idempotency-Key": key or str(uuid.uuid4()), "Content-Type": "application/octet-stream"}
        with file.open("rb") as content:
            accepted: t.Accepted = self._connection.call(
                "POST", f"indexes/{name}", params=params, content=content, headers=headers
            )
        return accepted

    def indexes(self) -> list[SearchIndex]:
        """All indexes of the project, by name."""
        found: list[SearchIndex] = self._connection.call("GET", "indexes")["indexes"]
        return found

    def index(self, name: str) -> SearchIndex:
        found: SearchIndex = self._connection.call("GET", f"indexes/{name}")
        return found

    def delete_index(self, name: str) -> None:
        self._connection.send("DELETE", f"{API}/indexes/{name}")

    def search(
        self, name: str, query: str, *, limit: int = 10, mode: Literal["hybrid", "text", "vector"] = "hybrid"
    ) -> list[FoundDocument]:
        """The documents that suit these words best, the best first."""
        params = {"q": query, "limit": limit, "mode": mode}
        found: list[FoundDocument] = self._connection.call("GET", f"indexes/{name}/search", params=params)["documents"]
        return found
