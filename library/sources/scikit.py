"""The data that scikit-learn brings, read from its files: to import it takes most of a small preparation's time."""

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from library.sources.archives import DataUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKAGE = "sklearn"


def rows_of(file: str, *, between: str | None = ",", heading: bool = False) -> "NDArray[np.float64]":
    """The numbers of one of its tables, a .csv or .csv.gz, without a heading; `between` them stand blanks if None."""
    path = _folder() / file
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return np.loadtxt(lines, delimiter=between, skiprows=int(heading))


def _folder() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise DataUnavailable("scikit-learn, which brings this data, is not installed: run ./justw install")
    return Path(spec.origin).parent / "datasets" / "data"
