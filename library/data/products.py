"""Kinds of products of a grocery, to be found by the words of their shelf."""

import io
from functools import cache
from typing import TYPE_CHECKING

from library.base import DataSet, Feature, Part, Schema, Split
from library.data.baskets import FOLDER, Baskets

if TYPE_CHECKING:
    from library.base import Arrays

KINDS = 2_376
MOST_KINDS = 80
MOST_BYTES = 64


class Products(DataSet):
    """303 categories as what people ask for, and for each which of 2,376 kinds of products it holds.

    All kinds may be found by each part; the questions are divided. Nothing has to be learnt, so that the test part is
    a large one.
    """

    name = "products"
    source = Baskets.source
    licence = Baskets.licence
    archives = Baskets.archives
    split = Split(train=0.4, validation=0.3, stratified=False)
    schema = Schema(
        features=(Feature(name="text", datatype="BYTES", description="the name of a category, small letters; UTF-8"),),
        target=Feature(
            name="kinds",
            datatype="INT64",
            shape=(MOST_KINDS,),
            minimum=-1,
            maximum=KINDS - 1,
            description="numbers of the kinds in this category, by their names in order; -1 where there are no more",
        ),
    )

    def load(self) -> "Arrays":
        import numpy as np

        numbers = {name: number for number, name in enumerate(kinds())}
        target = np.full((len(shelves()), MOST_KINDS), -1, "<i8")
        for row, held in zip(target, shelves().values(), strict=True):
            row[: len(held)] = [numbers[name] for name in held]
        return {"text": np.array([name.encode() for name in shelves()], f"S{MOST_BYTES}"), "kinds": target}

    def parts(self) -> "dict[Part, Arrays]":
        from library.sources.split import divide

        return divide(self.load(), "text", self.split)


def kinds() -> tuple[str, ...]:
    """The names of all kinds, in order: what is found has their numbers."""
    return tuple(sorted({name for held in shelves().values() for name in held}))


@cache
def shelves() -> dict[str, tuple[str, ...]]:
    """The names of categories, and of the kinds of products that each holds."""
    from pyarrow import parquet

    file = io.BytesIO(Baskets.archives[0].read(f"{FOLDER}/products.parquet"))
    columns = parquet.read_table(file, columns=["product_category", "product_type"])
    found: dict[str, set[str]] = {}
    for shelf, kind in set(zip(*(column.to_pylist() for column in columns.columns), strict=True)):
        if shelf and kind:
            found.setdefault(_plain(shelf), set()).add(_plain(kind))
    return {shelf: tuple(sorted(found[shelf])) for shelf in sorted(found)}


def _plain(name: str) -> str:
    return " ".join(name.lower().split())
