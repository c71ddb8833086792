"""Answers searches: a query becomes a vector first, with no transaction open, and then the index is looked at."""

import asyncio
import json
from collections.abc import Sequence
from typing import Final

import numpy as np

from services.inference.batch.caller import Caller, NotServed, RowsRefused, Target
from services.inference.search import domain, store
from services.inference.search.domain import CANDIDATES, Document
from services.inference.search.store import FIND, FIND_FOR_SHARE, Index
from shared.db import Connection, Database
from shared.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound, Unavailable
from shared.rpc.inference import FoundDocument, SearchAnswer, SearchIndex
from shared.tensors import from_numpy

QUERY_SECONDS: Final = 10.0


class Searcher:
    """Finds documents by meaning, by words, or by both."""

    def __init__(self, database: Database, caller: Caller) -> None:
        self._database, self._caller = database, caller

    async def search(self, request: SearchIndex) -> SearchAnswer:
        """Raises NotFound, InvalidInput, Conflict where the model is gone, DeadlineExceeded or Unavailable."""
        if "\0" in request.query:
            raise InvalidInput("q: must hold no zero byte", field="q")
        async with self._database.connection() as connection:
            index = await known(connection, request.project, request.name)
        vector = "" if request.mode == "text" else await self._vector(index, request)
        async with self._database.transaction() as tx:
            held = await known(tx, request.project, request.name, FIND_FOR_SHARE)
            if (held.model, held.version) != (index.model, index.version):
                raise Unavailable("the index was made anew meanwhile; try again")
            return await _answer(tx, held, request, vector)

    async def _vector(self, index: Index, request: SearchIndex) -> str:
        target = Target.of(index.project, index.model, index.version, request.actor)
        text = from_numpy(index.input, np.array([request.query.encode()], object), "BYTES")
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                outputs = await self._caller.once(target, [text])
        except TimeoutError:
            raise DeadlineExceeded(f"{target} did not answer within {QUERY_SECONDS:g} s") from None
        except NotServed as error:
            raise Conflict(f"{error.message}: build the index anew, or search with mode=text", field="mode") from None
        except RowsRefused as error:
            raise InvalidInput(f"q: {error.message}", field="q") from None
        return domain.literals(outputs, index.output)[0]


async def known(tx: Connection, project: str, name: str, query: str = FIND) -> Index:
    """The index of this name; raises NotFound."""
    index = await store.find(tx, project, name, query)
    if index is None:
        raise NotFound(f"there is no index '{name}': build it, or wait until its task has ended", field="name")
    return index


async def _answer(tx: Connection, index: Index, request: SearchIndex, vector: str) -> SearchAnswer:
    """Few documents are looked at one by one, which costs little and misses none."""
    exact = index.documents <= domain.EXACT_DOCUMENTS
    near = await store.by_vector(tx, index.generation, vector, CANDIDATES, exact=exact) if vector else []
    said = [] if request.mode == "vector" else await store.by_words(tx, index.generation, request.query, CANDIDATES)
    best = domain.fused([order for order in (near, said) if order], request.limit)
    documents = await store.documents(tx, index.generation, [number for number, _ in best])
    return SearchAnswer(documents=[_found(number, score, documents[number], near, said) for number, score in best])


def _found(number: int, score: float, document: Document, near: Sequence[int], said: Sequence[int]) -> FoundDocument:
    places = {"vector_rank": domain.place_of(number, near), "text_rank": domain.place_of(number, said)}
    return FoundDocument(
        id=document.id, text=document.text, attributes=json.loads(document.attributes), score=score, **places
    )
