"""What people ask of search indexes: to be built, shown and deleted, and what is in them."""

import asyncio
import json
from collections.abc import Sequence
from typing import Final

import numpy as np

from services.inference.batch.caller import NotServed, RowsRefused, Target
from services.inference.batch.handlers import deployment_of, serving_number
from services.inference.parts import Parts
from services.inference.search import domain, store
from services.inference.search.domain import CANDIDATES, KIND, Document, Plan
from services.inference.search.store import Index
from shared.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound, Unavailable
from shared.rpc.base import Done
from shared.rpc.inference import (
    BuildIndex,
    DeleteIndex,
    FoundDocument,
    GetIndex,
    IndexList,
    IndexView,
    ListIndexes,
    SearchAnswer,
    SearchIndex,
)
from shared.rpc.trainer import TaskAccepted
from shared.tasks.run import accept
from shared.tensors import from_numpy
from shared.work import Work

QUERY_SECONDS: Final = 10.0


async def build_index(request: BuildIndex, work: Work[Parts]) -> TaskAccepted:
    """Accept the building of an index, by a version that stays its own until it is built anew."""
    number = request.version or await serving_number(work, request.model)
    deployment = await deployment_of(work, request.model, number)
    given, vectors, dimensions = domain.embedding(deployment.signature)
    plan = Plan(
        index=request.name,
        version=number,
        input=given,
        output=vectors,
        dimensions=dimensions,
        digest=request.digest,
        format=request.format,
        parameters={"index": request.name, "version": number, "input": request.digest},
    )
    task = await accept(work, KIND, request.model, plan.model_dump(mode="json"))
    work.then(work.parts.runner.wake)
    return TaskAccepted(id=task.id, correlation_id=work.context.correlation_id)


async def list_indexes(_: ListIndexes, work: Work[Parts]) -> IndexList:
    return IndexList(indexes=[_view(index) for index in await store.all_of(work.tx, work.project)])


async def get_index(request: GetIndex, work: Work[Parts]) -> IndexView:
    return _view(await _index(request.name, work))


async def delete_index(request: DeleteIndex, work: Work[Parts]) -> Done:
    await store.delete(work.tx, await _index(request.name, work, store.FIND_FOR_UPDATE))
    return Done()


async def search_index(request: SearchIndex, work: Work[Parts]) -> SearchAnswer:
    """The best by meaning, by words, or by both; the index is held while it is looked at."""
    if "\0" in request.query:
        raise InvalidInput("q: must hold no zero byte", field="q")
    index = await _index(request.name, work)
    vector = "" if request.mode == "text" else await _vector(index, request.query, work)
    held = await _index(request.name, work, store.FIND_FOR_SHARE)
    if (held.model, held.version) != (index.model, index.version):
        raise Unavailable("the index was made anew meanwhile; try again")
    near = await _near(held, vector, work) if vector else []
    said = [] if request.mode == "vector" else await store.by_words(work.tx, held.generation, request.query, CANDIDATES)
    best = domain.fused([order for order in (near, said) if order], request.limit)
    documents = await store.documents(work.tx, held.generation, [number for number, _ in best])
    return SearchAnswer(documents=[_found(number, score, documents[number], near, said) for number, score in best])


async def _near(index: Index, vector: str, work: Work[Parts]) -> list[int]:
    """Few documents are looked at one by one, which costs little and misses none."""
    exact = index.documents <= domain.EXACT_DOCUMENTS
    return await store.by_vector(work.tx, index.generation, vector, CANDIDATES, exact=exact)


def _found(number: int, score: float, document: Document, near: Sequence[int], said: Sequence[int]) -> FoundDocument:
    places = {"vector_rank": domain.place_of(number, near), "text_rank": domain.place_of(number, said)}
    return FoundDocument(
        id=document.id, text=document.text, attributes=json.loads(document.attributes), score=score, **places
    )


async def _vector(index: Index, query: str, work: Work[Parts]) -> str:
    target = Target(index.project, index.model, index.version, work.context.actor)
    text = from_numpy(index.input, np.array([query.encode()], object), "BYTES")
    try:
        async with asyncio.timeout(QUERY_SECONDS):
            outputs = await work.parts.caller.once(target, [text])
    except TimeoutError:
        raise DeadlineExceeded(f"{target} did not answer within {QUERY_SECONDS:g} s") from None
    except NotServed as error:
        raise Conflict(f"{error.message}: build the index anew, or search with mode=text", field="mode") from None
    except RowsRefused as error:
        raise InvalidInput(f"q: {error.message}", field="q") from None
    return domain.literals(outputs, index.output)[0]


async def _index(name: str, work: Work[Parts], query: str = store.FIND) -> Index:
    index = await store.find(work.tx, work.project, name, query)
    if index is None:
        raise NotFound(f"there is no index '{name}': build it, or wait until its task has ended", field="name")
    return index


def _view(index: Index) -> IndexView:
    return IndexView(
        name=index.name,
        model=index.model,
        version=index.version,
        dimensions=index.dimensions,
        documents=index.documents,
        task_id=index.generation,
        updated_at=index.updated_at,
    )
