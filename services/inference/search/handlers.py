"""What people ask of search indexes: to be built, shown and deleted, and what is in them."""

from services.inference.batch.handlers import deployment_of, serving_number
from services.inference.parts import Parts
from services.inference.search import domain, store
from services.inference.search.domain import KIND, Plan
from services.inference.search.searcher import known
from services.inference.search.store import Index
from shared.rpc.base import Done
from shared.rpc.inference import (
    BuildIndex,
    DeleteIndex,
    GetIndex,
    IndexList,
    IndexView,
    ListIndexes,
    SearchAnswer,
    SearchIndex,
)
from shared.rpc.trainer import TaskAccepted
from shared.tasks.quota import check_quota
from shared.tasks.run import accept
from shared.work import Work


async def build_index(request: BuildIndex, work: Work[Parts]) -> TaskAccepted:
    """Accept the building of an index, by a version that stays its own until it is built anew."""
    await check_quota(work, KIND)
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
    return _view(await known(work.tx, work.project, request.name))


async def delete_index(request: DeleteIndex, work: Work[Parts]) -> Done:
    await store.delete(work.tx, await known(work.tx, work.project, request.name, store.FIND_FOR_UPDATE))
    return Done()


async def search_index(request: SearchIndex, parts: Parts) -> SearchAnswer:
    return await parts.searcher.search(request)


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
