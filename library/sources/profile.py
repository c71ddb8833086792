"""What a data set looks like: figures of each column, the classes, and a few items; all of it plain JSON."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from library.base import DataSet, Feature, Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

MOST_ITEMS = 20_000
MOST_COLUMNS = 500
SHOWN_ITEMS = 5
SHOWN_NUMBERS = 1024
SHOWN_BYTES = 500
SHARES = np.linspace(0, 1, 11)


def profile(dataset: DataSet, parts: "Mapping[Part, Arrays]") -> dict[str, Any]:
    """Figures of the training part's columns, by which drift is told later, and of all parts' targets.

    Of a part with more than 20,000 items as many are looked at, from all over it.
    """
    items = _some(parts[Part.TRAIN], MOST_ITEMS)
    named = (pair for feature in dataset.schema.features for pair in _columns(feature, items[feature.name]))
    columns = [{"name": name, **_figures(values)} for name, values in islice(named, MOST_COLUMNS)]
    targets = {part: part_items[dataset.schema.target.name] for part, part_items in parts.items()}
    return {"columns": columns, "target": {part: _target(values, dataset.labels) for part, values in targets.items()}}


def preview(items: "Arrays") -> list[dict[str, Any]]:
    """A few items of a part from all over it; long texts are cut, and of large arrays the shape alone is told."""
    few = _some(items, SHOWN_ITEMS)
    count = len(next(iter(few.values())))
    return [{name: _shown(values[index]) for name, values in few.items()} for index in range(count)]


def _some(items: "Arrays", most: int) -> "Arrays":
    count = len(next(iter(items.values())))
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
    return {name: values[chosen] for name, values in items.items()}


def _columns(feature: Feature, values: "NDArray[Any]") -> "Iterator[tuple[str, NDArray[Any]]]":
    """A table has a column for each of its names; other arrays are looked at as one."""
    if feature.columns and values.ndim == 2:
        yield from zip(feature.columns, values.T, strict=True)
    else:
        yield feature.name, values


def _figures(values: "NDArray[Any]") -> dict[str, Any]:
    return _figures_of_texts(values) if values.dtype.kind in "SOU" else _figures_of_numbers(values)


def _figures_of_texts(texts: "NDArray[Any]") -> dict[str, Any]:
    lengths = np.array([len(text) for text in texts.ravel()])
    figures = {"missing": int((lengths == 0).sum()), "distinct": len(np.unique(texts))}
    return figures | {f"length_{name}": value for name, value in _spread(lengths).items()}


def _figures_of_numbers(values: "NDArray[Any]") -> dict[str, Any]:
    numbers = values.ravel().astype(float)
    present = numbers[np.isfinite(numbers)]
    return {"missing": len(numbers) - len(present), **_spread(present)}


def _spread(numbers: "NDArray[Any]") -> dict[str, Any]:
    """Deciles with both ends, mean and standard deviation; nothing of no number at all."""
    if len(numbers) == 0:
        return {}
    deciles = [float(value) for value in np.quantile(numbers, SHARES)]
    mean, deviation = float(numbers.mean()), float(numbers.std())
    return {"minimum": deciles[0], "maximum": deciles[-1], "mean": mean, "deviation": deviation, "deciles": deciles}


def _target(values: "NDArray[Any]", labels: tuple[str, ...]) -> dict[str, Any]:
    if not labels:
        return {"items": len(values), **_figures(values)}
    counts = np.bincount(values[values >= 0].ravel(), minlength=len(labels))
    return {"items": len(values), "classes": dict(zip(labels, counts.tolist(), strict=True))}


def _shown(value: Any) -> Any:
    if isinstance(value, (bytes, np.bytes_)):
        return bytes(value[:SHOWN_BYTES]).decode("utf-8", "replace")
    array = np.asarray(value)
    if array.size > SHOWN_NUMBERS:
        return {"shape": list(array.shape)}
    return _plain(array.tolist())


def _plain(value: Any) -> Any:
    """JSON has neither NaN nor infinity."""
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
