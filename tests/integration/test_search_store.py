"""Documents on a real PostgreSQL: neighbours by the graph beside those that are really nearest, and who holds whom."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import numpy as np
import pytest

from services.inference.search import store
from services.inference.search.domain import Document, literals
from services.inference.search.store import FIND_FOR_SHARE, FIND_FOR_UPDATE, Index
from shared.db import Database
from shared.names import new_id
from shared.settings import ServiceSettings
from shared.tensors import from_numpy

COUNT, WIDTH, LIMIT = 2000, 16, 20
INDEX = Index("default", "things", "m", 1, "text", "vectors", WIDTH, COUNT, "")


@pytest.fixture
async def database(settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Database]:
    database = Database(settings_of("inference"))
    yield database
    await database.close()


def written(vectors: np.ndarray) -> list[str]:
    return literals([from_numpy("vectors", vectors.astype("<f4"))], "vectors")


async def test_the_graph_finds_most_of_the_nearest_and_looking_at_all_finds_all(database: Database) -> None:
    generation, vectors = f"index-{new_id()}", np.random.RandomState(0).normal(size=(COUNT, WIDTH))
    likeness = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) @ vectors[0]
    nearest = set(np.argsort(-likeness)[:LIMIT].tolist())
    documents, given = [Document(f"d{number}", f"number {number}") for number in range(COUNT)], written(vectors)
    async with database.transaction() as tx:
        assert await store.begin(tx, generation, WIDTH) == 0
        await store.add(tx, generation, 0, documents[:1500], given[:1500])
        assert await store.begin(tx, generation, WIDTH) == 1500
        await store.add(tx, generation, 1500, documents[1500:], given[1500:])
    async with database.transaction() as tx:
        looked = await store.by_vector(tx, generation, given[0], LIMIT, exact=True)
        led = await store.by_vector(tx, generation, given[0], LIMIT, exact=False)
        assert (set(looked), looked[0], led[0]) == (nearest, 0, 0)
        assert len(nearest & set(led)) >= 0.8 * LIMIT
        assert await store.documents(tx, generation, led[:1]) == {0: documents[0]}


async def test_an_id_that_is_there_twice_is_told(database: Database) -> None:
    generation = f"index-{new_id()}"
    async with database.transaction() as tx:
        await store.begin(tx, generation, 1)
        await store.add(tx, generation, 0, [Document("a", "a dog")], ["[1]"])
        assert await store.repeated(tx, generation, ["b", "a"]) == "a"
        assert await store.repeated(tx, generation, ["b", "c", "b"]) == "b"
        assert await store.repeated(tx, generation, ["b", "c"]) is None


async def test_an_index_is_of_one_project_alone(database: Database) -> None:
    async with database.transaction() as tx:
        await store.save(tx, replace(INDEX, project="mine", generation=f"index-{new_id()}"))
        assert await store.find(tx, "mine", INDEX.name)
        assert (await store.find(tx, "theirs", INDEX.name), await store.all_of(tx, "theirs")) == (None, [])
        assert not await store.in_use(tx, "theirs", INDEX.model, INDEX.version)


@pytest.mark.parametrize("hostile", ['x"; DROP TABLE indexes; --', "", "Ä", "a" * 61, "x.y"])
def test_what_is_no_id_becomes_no_sql(hostile: str) -> None:
    with pytest.raises(ValueError, match="no id of a task"):
        store.table(hostile)


async def test_words_are_found_in_any_form_and_those_that_say_nothing_find_nothing(database: Database) -> None:
    generation = f"index-{new_id()}"
    async with database.transaction() as tx:
        await store.begin(tx, generation, 1)
        texts = ("frozen pizzas", "a pizza oven", "ovens & 'quotes' | (more)", "bread")
        await store.add(tx, generation, 0, [Document(text, text) for text in texts], ["[1]"] * len(texts))
        assert set(await store.by_words(tx, generation, "pizza in the ovens", LIMIT)) == {0, 1, 2}
        assert await store.by_words(tx, generation, "the & of | ' ( !", LIMIT) == []


async def test_an_index_that_is_searched_is_not_replaced_meanwhile(database: Database) -> None:
    index = replace(INDEX, generation=f"index-{new_id()}")
    async with database.transaction() as tx:
        await store.begin(tx, index.generation, WIDTH)
        await store.save(tx, index)

    async def delete() -> None:
        async with database.transaction() as tx:
            found = await store.find(tx, "default", "things", FIND_FOR_UPDATE)
            assert found
            await store.delete(tx, found)

    async with database.transaction() as tx:
        assert await store.find(tx, "default", "things", FIND_FOR_SHARE)
        deleting = asyncio.create_task(delete())
        await asyncio.sleep(0.2)
        assert await store.by_words(tx, index.generation, "word", LIMIT) == []
        assert not deleting.done()
    await deleting
    async with database.transaction() as tx:
        assert await store.find(tx, "default", "things") is None
        assert not await store.in_use(tx, "default", "m", 1)
