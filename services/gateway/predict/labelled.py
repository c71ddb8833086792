"""Tensors that a model gave as answers for people: labels with scores, values, or what it gave by name. Pure."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.gateway.predict.facts import Facts
from services.gateway.predict.tagged import entities
from shared.errors import TooLarge
from shared.tensors import Tensor, to_numpy

Array = NDArray[Any]
CLASSIFICATION, REGRESSION, RANKING, TAGGING = "classification", "regression", "ranking", "tagging"
TOP: Final = 10
SHORTENED: Final = 4096
MOST_NUMBERS: Final = 1_000_000


def predictions(outputs: Sequence[Tensor], facts: Facts, top: int | None = None) -> list[dict[str, Any]]:
    """An answer for each item; scores and ranks no more than `top`, where that is given."""
    arrays = {tensor.name: _rows(to_numpy(tensor), facts.is_batched) for tensor in _in_order(outputs, facts)}
    used, answers = _answers(arrays, facts, top)
    rest = {name: array for name, array in arrays.items() if name not in used}
    _check_size(rest)
    if rest:
        for number, answer in enumerate(answers):
            answer["outputs"] = {name: plain(array[number]) for name, array in rest.items()}
    return answers


def _in_order(outputs: Sequence[Tensor], facts: Facts) -> list[Tensor]:
    """As the signature has them, whose first output is the one that is scored: a model is served with any order."""
    places = {spec.name: number for number, spec in enumerate(facts.signature.outputs)}
    return sorted(outputs, key=lambda tensor: places.get(tensor.name, len(places)))


def _check_size(rest: dict[str, Array]) -> None:
    for name, array in rest.items():
        if array.size > MOST_NUMBERS:
            raise TooLarge(f"output '{name}' has {array.size} numbers: ask for it as binary data, at /v2", field=name)


def _rows(array: Array, is_batched: bool) -> Array:
    return array if is_batched else array[np.newaxis]


def _answers(arrays: dict[str, Array], facts: Facts, top: int | None) -> tuple[set[str], list[dict[str, Any]]]:
    """The names of the outputs that were understood, and what they say of each item."""
    count = len(next(iter(arrays.values())))
    if facts.task_type == RANKING and (found := _ranked(arrays, facts, top or TOP)):
        return found
    if facts.task_type in (CLASSIFICATION, "") and (name := _scores_of(arrays, facts)):
        labels = _labels(facts, arrays[name].shape[1])
        return {name}, [_classified(row, labels, top) for row in arrays[name]]
    if facts.task_type == REGRESSION and (name := _values_of(arrays)):
        return {name}, [{"value": plain(row.reshape(()))} for row in arrays[name]]
    if facts.task_type == TAGGING and (names := _tags_of(arrays, facts)):
        rows = zip(arrays[names[0]], arrays[names[1]], strict=True)
        return {*names}, [_tagged(tags, words, facts) for tags, words in rows]
    return set(), [{} for _ in range(count)]


def _tags_of(arrays: dict[str, Array], facts: Facts) -> tuple[str, str] | None:
    """The first output with a label's number for each word, and that with the words."""
    tags = next((n for n, array in arrays.items() if array.dtype.kind in "iu" and array.ndim == 2), None)
    if tags is None or (arrays[tags] < 0).any() or (arrays[tags] >= len(facts.labels)).any():
        return None
    words = (n for n, array in arrays.items() if array.dtype.kind == "O" and array.shape == arrays[tags].shape)
    return next(((tags, name) for name in words), None)


def _tagged(tags: Array, words: Array, facts: Facts) -> dict[str, Any]:
    return {"entities": entities(words.tolist(), [facts.labels[tag] for tag in tags.tolist()])}


def _scores_of(arrays: dict[str, Array], facts: Facts) -> str | None:
    """The first output with a number for each label; without labels a classifier's only rows of numbers."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and array.ndim == 2 and array.shape[1] == len(facts.labels):
            return name
    rows = [name for name, array in arrays.items() if array.dtype.kind == "f" and array.ndim == 2 and array.shape[1]]
    return rows[0] if facts.task_type == CLASSIFICATION and not facts.labels and len(rows) == 1 else None


def _values_of(arrays: dict[str, Array]) -> str | None:
    """The first output with one number for each item."""
    names = (name for name, array in arrays.items() if array.dtype.kind in "fiu" and array.size == len(array))
    return next(names, None)


def _labels(facts: Facts, count: int) -> Sequence[str]:
    """A label for each score; positions where the version has none, or not one for each."""
    labels = facts.labels
    return labels if len(labels) == count == len(set(labels)) else tuple(map(str, range(count)))


def _classified(row: Array, labels: Sequence[str], top: int | None) -> dict[str, Any]:
    order = _best(row, top or len(row))
    scores = {labels[position]: plain(row[position]) for position in order}
    best = next(iter(scores))
    return {"label": best, "score": scores[best], "scores": scores}


def _ranked(arrays: dict[str, Array], facts: Facts, top: int) -> tuple[set[str], list[dict[str, Any]]] | None:
    """Scores of all candidates, put in order here; or items and their scores, which the model put in order itself."""
    scored = next((n for n, array in arrays.items() if array.dtype.kind == "f" and array.ndim == 2), None)
    if scored is None:
        return None
    if found := _ordered(arrays, scored, facts, top):
        return found
    answers = []
    for row in arrays[scored]:
        order = _best(row, top)
        answers.append({"items": _pairs(order, row[order], facts, is_whole=len(facts.labels) == len(row))})
    return {scored}, answers


def _ordered(
    arrays: dict[str, Array], scored: str, facts: Facts, top: int
) -> tuple[set[str], list[dict[str, Any]]] | None:
    """Items beside their scores; where the model gives numbers and texts of them, the texts are labels."""
    alike = {
        n: array for n, array in arrays.items() if array.dtype.kind in "iuO" and array.shape == arrays[scored].shape
    }
    items = next(iter(alike), None)
    if items is None:
        return None
    names = next((n for n in alike if arrays[n].dtype.kind == "O" and arrays[items].dtype.kind != "O"), None)
    answers = [_pairs(row[:top], found[:top], facts) for row, found in zip(arrays[items], arrays[scored], strict=True)]
    for answer, texts in zip(answers, arrays[names] if names else (), strict=False):
        for pair, text in zip(answer, texts, strict=False):
            pair["label"] = plain(text)
    return {scored, items, names or items}, [{"items": answer} for answer in answers]


def _pairs(items: Array, scores: Array, facts: Facts, *, is_whole: bool = True) -> list[dict[str, Any]]:
    """The label beside each item where the version has one; numbers below 0 stand for no more items."""
    return [
        {"item": plain(item), **_label(item, facts, is_whole), "score": plain(score)}
        for item, score in zip(items, scores, strict=True)
        if isinstance(item, bytes) or item >= 0
    ]


def _label(item: Any, facts: Facts, is_whole: bool) -> dict[str, str]:
    known = is_whole and not isinstance(item, bytes) and 0 <= item < len(facts.labels)
    return {"label": facts.labels[int(item)]} if known else {}


def _best(row: Array, count: int) -> Array:
    """Positions of the best, of equal ones the first, and what is no number last."""
    scores = np.where(np.isnan(row), -np.inf, row)
    order: Array = np.argsort(-scores, kind="stable")[:count]
    return order


def plain(value: Any) -> Any:
    """What JSON can say of it: digits of its own precision, text where bytes are text, null for no finite number."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and value.size > SHORTENED:
            found = value.astype(object)
            found[~np.isfinite(value)] = None
            return found.tolist()
        return [plain(each) for each in value] if value.ndim else plain(value[()])
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.floating):
        number = float(str(value))
        return number if math.isfinite(number) else None
    return value.item()
