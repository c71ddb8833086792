"""The S&P 500 and the Nasdaq Composite, 1999 to 2018, day by day: what the last 64 days say of the next."""

import csv
import gzip
from typing import TYPE_CHECKING, Any, ClassVar

from library.base import DataSet, Feature, Part, Schema, Split
from library.sources.archives import Archive, Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

MARKETS = ("sp500", "nasdaq")
WINDOW = 64
PRICES = ("open", "high", "low", "close")
FEATURES = (
    Feature(
        name="bars",
        datatype="FP32",
        shape=(WINDOW, len(PRICES)),
        columns=PRICES,
        minimum=0,
        description="prices of 64 trading days, the latest last",
    ),
    Feature(name="market", datatype="INT64", minimum=0, maximum=1, description="0 S&P 500, 1 Nasdaq Composite"),
)


class Markets(DataSet):
    """Both markets on 4,967 days in order of time; a day, with both, is in one part.

    A window reaches into the part before, as it would on that day; what is asked for is always of a later day.
    """

    source = "sp500.csv and nasdaq.csv of the package arch (K. Sheppard), daily prices of Yahoo Finance"
    licence = "NCSA (of the package; the prices are the exchanges')"
    split = Split(train=0.6, validation=0.15)
    archives = (
        Archive(
            registry=Registry.PYPI,
            package="arch",
            version="8.0.0",
            file="arch-8.0.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",
            sha256="975ec3bdf7926335742ac362251fafe32b448b8f194dead062f22a00beef772d",
            size=990_702,
        ),
    )

    def target_of(self, returns: "NDArray[Any]") -> "NDArray[Any]":
        """What is asked for, from the logarithm of the next close over the last, in percent."""
        raise NotImplementedError

    def load(self) -> "Arrays":
        return {name: column.reshape(-1, *column.shape[2:]) for name, column in self._days().items()}

    def parts(self) -> "dict[Part, Arrays]":
        from library.sources.split import in_order

        days = in_order(self._days(), self.split)
        return {
            part: {name: column.reshape(-1, *column.shape[2:]) for name, column in items.items()}
            for part, items in days.items()
        }

    def _days(self) -> "Arrays":
        """Columns of shape [days, markets, ...]."""
        import numpy as np

        bars, returns = (np.stack(both, axis=1) for both in zip(*map(self._market, MARKETS), strict=True))
        market = np.broadcast_to(np.arange(len(MARKETS)), returns.shape)
        target = self.target_of(returns)
        return {"bars": bars, "market": market.astype("<i8"), self.schema.target.name: target}

    def _market(self, name: str) -> "tuple[NDArray[Any], NDArray[Any]]":
        text = gzip.decompress(self.archives[0].read(f"arch/data/{name}/{name}.csv.gz")).decode()
        return windows(text)


def windows(text: str) -> "tuple[NDArray[Any], NDArray[Any]]":
    """Bars [days, 64, 4] of a published table, and the next day's logarithmic return in percent [days]."""
    import numpy as np

    rows = [[float(row[price.title()]) for price in PRICES] for row in csv.DictReader(text.splitlines())]
    prices = np.array(rows)
    returns = 100 * np.diff(np.log(prices[:, -1]))
    bars = np.lib.stride_tricks.sliding_window_view(prices[:-1], WINDOW, axis=0).swapaxes(1, 2)
    return bars.astype("<f4"), returns[WINDOW - 1 :]


def returns(bars: "NDArray[Any]") -> "NDArray[Any]":
    """Logarithmic returns in percent [items, 63], close to close."""
    import numpy as np

    found: NDArray[Any] = 100 * np.diff(np.log(bars[:, :, -1].astype("f8")), axis=1)
    return found


class MarketVariance(Markets):
    """How far the next day moves: the square of its return."""

    name = "market-variance"
    schema = Schema(
        features=FEATURES,
        target=Feature(
            name="variance",
            datatype="FP32",
            minimum=0,
            description="square of the next day's logarithmic return in percent, close to close",
        ),
    )

    def target_of(self, returns: "NDArray[Any]") -> "NDArray[Any]":
        return (returns**2).astype("<f4")


class MarketDirection(Markets):
    """Whether the next day closes higher."""

    name = "market-direction"
    labels: ClassVar[tuple[str, ...]] = ("down", "up")
    schema = Schema(
        features=FEATURES,
        target=Feature(
            name="direction", datatype="INT64", minimum=0, maximum=1, description="1 where the next close is higher"
        ),
    )

    def target_of(self, returns: "NDArray[Any]") -> "NDArray[Any]":
        return (returns > 0).astype("<i8")
