"""How a data set is divided into its parts: by numpy's frozen generator, so that no upgrade moves an item."""

from typing import TYPE_CHECKING, Any

import numpy as np

from library.base import Part, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

    Indices = NDArray[np.int64]


def divide(items: "Arrays", target: str, rule: Split) -> "dict[Part, Arrays]":
    """Each part's items in their original order; stratified: every class has the same share of each part."""
    random = np.random.RandomState(rule.seed)
    groups = [np.flatnonzero(mask) for mask in _strata(items[target], rule.stratified)]
    cuts = [_cut(random.permutation(group), rule) for group in groups]
    chosen = {part: np.sort(np.concatenate([cut[part] for cut in cuts])) for part in Part}
    return {part: {name: column[chosen[part]] for name, column in items.items()} for part in Part}


def _strata(target: "NDArray[Any]", stratified: bool) -> "list[NDArray[np.bool_]]":
    if not stratified:
        return [np.ones(len(target), dtype=bool)]
    return [target == value for value in np.unique(target)]


def _cut(group: "Indices", rule: Split) -> "dict[Part, Indices]":
    first = round(len(group) * rule.train)
    second = round(len(group) * (rule.train + rule.validation))
    return {Part.TRAIN: group[:first], Part.VALIDATION: group[first:second], Part.TEST: group[second:]}


def in_order(items: "Arrays", rule: Split) -> "dict[Part, Arrays]":
    """The first items to train on, the next to validate, the last to test: for items that follow each other in time."""
    cut = _cut(np.arange(len(next(iter(items.values())))), rule)
    return {part: {name: column[cut[part]] for name, column in items.items()} for part in Part}


def by_group(items: "Arrays", groups: "NDArray[Any]", rule: Split) -> "dict[Part, Arrays]":
    """Whole groups to one part: for items of which several are of one person, thread or case."""
    random = np.random.RandomState(rule.seed)
    cut = _cut(random.permutation(np.unique(groups)), rule)
    chosen = {part: np.flatnonzero(np.isin(groups, cut[part])) for part in Part}
    return {part: {name: column[chosen[part]] for name, column in items.items()} for part in Part}
