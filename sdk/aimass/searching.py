"""Search indexes: texts found by meaning and by words."""

from pathlib import Path
from typing import Literal, TypedDict

from aimass import types as t
from aimass.calls import Call, bring, get, nothing
from aimass.methods import method


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

    @method
    def build_index(
        self,
        name: str,
        file: Path,
        model: str,
        *,
        version: int | None = None,
        format: str | None = None,  # noqa: A002
        key: str = "",
    ) -> Call[t.Accepted]:
        """Submit a task that builds an index, or builds it anew, of a file with columns `id`, `text`, and
        `attributes` (an object of JSON) where documents have some.
        """
        return bring(f"indexes/{name}", file, {"model": model, "version": version, "format": format}, key)

    @method
    def indexes(self) -> Call[list[SearchIndex]]:
        """All indexes of the project, by name."""
        return get("indexes", take="indexes")

    @method
    def index(self, name: str) -> Call[SearchIndex]:
        """An index, and the task that made it."""
        return get(f"indexes/{name}")

    @method
    def delete_index(self, name: str) -> Call[None]:
        """Delete an index and its documents."""
        return nothing("DELETE", f"indexes/{name}")

    @method
    def search(
        self, name: str, query: str, *, limit: int = 10, mode: Literal["hybrid", "text", "vector"] = "hybrid"
    ) -> Call[list[FoundDocument]]:
        """The documents that suit these words best, the best first."""
        return get(f"indexes/{name}/search", {"q": query, "limit": limit, "mode": mode}, take="documents")
