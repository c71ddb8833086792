"""Names within rows of words: which words they span, and how well two readings of them agree. Pure.

A row holds a tag for each word: 0 where it is no name's, 2k + 1 at the first word of a name of kind k, 2k + 2 at its
other words. Such a one that follows no word of its kind begins a name too.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def spans(tags: "Array") -> "Array":
    """Row, first word, word after the last, and kind of each name in tags [rows, n]: [names, 4]."""
    rows, places = np.nonzero(_begins(tags))
    after = np.pad(tags, [(0, 0), (0, 1)])
    goes_on = (after > 0) & (after % 2 == 0) & ~_begins(after)
    ends = np.where(goes_on, after.shape[1], np.arange(after.shape[1]))
    next_end = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return np.stack([rows, places, next_end[rows, places + 1], (tags[rows, places] - 1) // 2], axis=1)


def _begins(tags: "Array") -> "Array":
    before = np.pad(tags, [(0, 0), (1, 0)])[:, :-1]
    same_kind = (before > 0) & ((before - 1) // 2 == (tags - 1) // 2)
    begins: Array = (tags % 2 == 1) | ((tags > 0) & ~same_kind)
    return begins


def counts(truth: "Array", outputs: "Array", kinds: int) -> "Array":
    """Of each row and kind how many names are the same in both, in the outputs, and in truth: [rows, kinds, 3]."""
    width = max(truth.shape[1], outputs.shape[1])
    wanted, found = (spans(np.pad(tags, [(0, 0), (0, width - tags.shape[1])])) for tags in (truth, outputs))
    alike = wanted[_among(wanted, found, width)]
    tables = np.zeros((3, len(truth), kinds), int)
    for table, names in zip(tables, (alike, found, wanted), strict=True):
        np.add.at(table, (names[:, 0], names[:, 3]), 1)
    return tables.transpose(1, 2, 0)


def _among(names: "Array", others: "Array", width: int) -> "Array":
    sizes = (width + 1, width + 1, 1 + max(names[:, 3].max(initial=0), others[:, 3].max(initial=0)))
    found: Array = np.isin(_keys(names, sizes), _keys(others, sizes))
    return found


def _keys(names: "Array", sizes: tuple[int, ...]) -> "Array":
    key: Array = names[:, 0]
    for column, size in zip(names[:, 1:].T, sizes, strict=True):
        key = key * size + column
    return key


def f1(same: "Array", found: "Array", wanted: "Array") -> "Array":
    """The harmonic mean of precision and recall; 0 where there is nothing."""
    value: Array = 2 * same / np.maximum(1, found + wanted)
    return value


def figures(truth: "Array", outputs: "Array", labels: tuple[str, ...]) -> dict[str, Any]:
    """F1 over names whose words and kind are the same, precision, recall, and each kind's own.

    `labels` name no name, and the first and the other words of each kind, as `kind` behind a hyphen.
    """
    table = counts(truth, outputs, len(labels) // 2)
    same, found, wanted = table.sum(axis=(0, 1))
    kinds = [label.partition("-")[2] for label in labels[1::2]]
    return {
        "entity_f1": float(f1(same, found, wanted)),
        "entity_precision": float(same / max(1, found)),
        "entity_recall": float(same / max(1, wanted)),
        "per_class": [_row(kind, row) for kind, row in zip(kinds, table.sum(axis=0), strict=True)],
        "entities": int(wanted),
    }


def _row(kind: str, row: "Array") -> dict[str, Any]:
    same, found, wanted = map(int, row)
    return {
        "label": kind,
        "precision": same / max(1, found),
        "recall": same / max(1, wanted),
        "f1": float(f1(*row)),
        "support": wanted,
    }
