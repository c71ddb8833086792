"""The Complete Journey: who redeems a coupon of a campaign that reaches them; 6,589 letters, 792 answered."""

import io
from typing import TYPE_CHECKING, Any, ClassVar, Final

from library.base import DataSet, Feature, Part, Schema
from library.data.baskets import FOLDER, Baskets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from library.base import Arrays

    Day = np.datetime64
    ByHousehold = Mapping[int, Sequence[NDArray[Any]]]

TYPES = ("Type A", "Type B", "Type C")
COLUMNS = (
    *("type", "days", "coupons", "spent", "baskets", "fitting", "with_coupon"),
    *("answered", "redeemed", "since_redeemed"),
)
LINE = ("product_id", "basket_id", "sales_value", "coupon_disc", "coupon_match_disc")
NONE: Final = ((), ())
DAYS_BEFORE = 84
FIRST_DAY = {Part.VALIDATION: "2017-08-01", Part.TEST: "2017-10-20"}


class Coupons(DataSet):
    """A letter is a campaign that reaches a household, seen on the morning of its first day; parts follow each other.

    Campaigns that begin before August train, those until 20 October validate, later ones test. What the household
    bought counts for twelve weeks before; of earlier campaigns what it had redeemed until that morning.
    """

    name = "coupons"
    source = Baskets.source
    licence = Baskets.licence
    labels: ClassVar[tuple[str, ...]] = ("ignored", "redeemed")
    schema = Schema(
        features=(
            Feature(
                name="letter",
                datatype="FP32",
                shape=(len(COLUMNS),),
                columns=COLUMNS,
                missing=True,
                description="type: 0 A, 1 B, 2 C; days: of the campaign; coupons: in it; of the twelve weeks before "
                "spent: dollars, baskets, fitting: lines of receipts that a coupon of it suits, with_coupon: lines "
                "paid less by one; of letters before answered: the share, redeemed: coupons a letter, empty for the "
                "first; since_redeemed: days, empty where it never did",
            ),
        ),
        target=Feature(name="kind", datatype="INT64", minimum=0, maximum=1, description="0 ignored, 1 redeemed"),
    )
    archives = Baskets.archives

    def load(self) -> "Arrays":
        return {name: column for name, column in self._letters().items() if name != "start"}

    def parts(self) -> "dict[Part, Arrays]":
        import numpy as np

        letters = self._letters()
        starts = letters.pop("start")
        test, validation = (starts >= np.datetime64(FIRST_DAY[part]) for part in (Part.TEST, Part.VALIDATION))
        chosen = {Part.TRAIN: ~validation, Part.VALIDATION: validation & ~test, Part.TEST: test}
        return {part: {name: column[rows] for name, column in letters.items()} for part, rows in chosen.items()}

    def _letters(self) -> "Arrays":
        """All letters in order of time, and the first day of each."""
        import numpy as np

        numbers, types, starts, ends = self._table(
            "campaign_descriptions", "campaign_id", "campaign_type", "start_date", "end_date"
        )
        campaigns = dict(zip(numbers, zip(types, starts, ends, self._coupons(numbers), strict=True), strict=True))
        letters = Letters(
            bought=_by(*self._table("transactions", "household_id", "transaction_timestamp", *LINE)),
            redeemed=_by(*self._table("coupon_redemptions", "household_id", "redemption_date", "campaign_id")),
        )
        sent = np.stack(self._table("campaigns", "campaign_id", "household_id"), axis=1)
        order = np.lexsort((*sent.T[::-1], [campaigns[number][1] for number in sent[:, 0]]))
        rows = [letters.add(number, household, *campaigns[number]) for number, household in sent[order]]
        columns, kinds, days = zip(*rows, strict=True)
        return {"letter": np.array(columns, "<f4"), "kind": np.array(kinds, "<i8"), "start": np.array(days)}

    def _coupons(self, campaigns: "NDArray[Any]") -> list[tuple[int, frozenset[int]]]:
        """How many coupons each campaign has, and the products that they are for."""
        import numpy as np

        of, coupon, product = self._table("coupons", "campaign_id", "coupon_upc", "product_id")
        return [
            (len(np.unique(coupon[of == number])), frozenset(product[of == number].tolist())) for number in campaigns
        ]

    def _table(self, name: str, *columns: str) -> "list[NDArray[Any]]":
        from pyarrow import parquet

        file = io.BytesIO(self.archives[0].read(f"{FOLDER}/{name}.parquet"))
        found = parquet.read_table(file, columns=list(columns))
        return [found[column].to_numpy() for column in columns]


class Letters:
    """What was known of each household on the morning when a letter came; `add` takes them in order of time."""

    def __init__(self, bought: "ByHousehold", redeemed: "ByHousehold") -> None:
        self._bought, self._redeemed = bought, redeemed
        self._before: dict[int, set[int]] = {}

    def add(
        self, number: int, household: int, kind: str, start: "Day", end: "Day", coupons: tuple[int, frozenset[int]]
    ) -> "tuple[list[float], bool, Day]":
        """The columns of this letter, whether a coupon of it was redeemed in the end, and its day."""
        import numpy as np

        days = float((end - start) / np.timedelta64(1, "D"))
        told = [TYPES.index(kind), days, coupons[0], *self._basket(household, start, coupons[1])]
        row = [float(each) for each in (*told, *self._past(household, start))]
        self._before.setdefault(household, set()).add(number)
        return row, number in self._redeemed.get(household, NONE)[1], start

    def _basket(self, household: int, start: "Day", products: frozenset[int]) -> tuple[float, ...]:
        import numpy as np

        if household not in self._bought:
            return 0.0, 0.0, 0.0, 0.0
        day, product, basket, dollars, coupon, match = self._bought[household]
        first, last = np.searchsorted(day, [start - np.timedelta64(DAYS_BEFORE, "D"), start])
        lines = slice(first, last)
        paid_less = (coupon[lines] > 0) | (match[lines] > 0)
        fitting = sum(number in products for number in product[lines].tolist())
        return dollars[lines].sum(), len(np.unique(basket[lines])), fitting, paid_less.sum()

    def _past(self, household: int, start: "Day") -> tuple[float, ...]:
        import numpy as np

        before = self._before.get(household, set())
        day, campaign = self._redeemed.get(household, NONE)
        known = slice(0, np.searchsorted(day, start))
        since = (start - day[known][-1]) / np.timedelta64(1, "D") if len(day[known]) else np.nan
        letters = len(before) or np.nan
        return len(before & set(campaign[known])) / letters, len(day[known]) / letters, since


def _by(households: "NDArray[Any]", times: "NDArray[Any]", *columns: "NDArray[Any]") -> "ByHousehold":
    """Columns of each household, in order of time, the times first."""
    import numpy as np

    order = np.lexsort((times, households))
    found, starts = np.unique(households[order], return_index=True)
    split = [np.split(column[order], starts[1:]) for column in (times, *columns)]
    return dict(zip(found.tolist(), zip(*split, strict=True), strict=True))
