"""Labels of words as the names that they make up: where each stands in the text, and what it is. Pure."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

BEGINS = "B"
NONE = "O"


def entities(words: Sequence[bytes], labels: Sequence[str]) -> list[dict[str, Any]]:
    """The names of a text, which its words, each with the space before it, make up; `start` and `end` count letters.

    A label is NONE, or its kind behind BEGINS or another letter and a hyphen; one of another kind begins a name too.
    """
    pieces = [word.decode("utf-8", "replace") for word in words]
    ends = [0, *accumulate(map(len, pieces))]
    return [
        _entity("".join(pieces[first:last]), labels[first].partition("-")[2], ends[last])
        for first, last in _spans(labels[: len(pieces)])
    ]


def _entity(text: str, label: str, end: int) -> dict[str, Any]:
    plain = text.lstrip(" \t\n\r\f")
    return {"text": plain, "label": label, "start": end - len(plain), "end": end}


def _spans(labels: Sequence[str]) -> Iterator[tuple[int, int]]:
    edges = [place for place, pair in enumerate(pairwise([NONE, *labels])) if not _goes_on(*pair)]
    for first, last in pairwise([*edges, len(labels)]):
        if labels[first] != NONE:
            yield first, last


def _goes_on(before: str, label: str) -> bool:
    if NONE in (before, label):
        return before == label
    return not label.startswith(f"{BEGINS}-") and before.partition("-")[2] == label.partition("-")[2]
