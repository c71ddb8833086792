"""The model library: adding a member is one file beside this one and one line in MODELS or DATA_SETS.

A line is an entry point's value, `module:class`, so that wheels of others can bring members by the same form.
"""

from functools import cache
from pkgutil import resolve_name
from typing import Any, TypeVar

from library.base import DataSet, Model
from shared.errors import NotFound

MODELS = ("library.digits_cnn:DigitsCnn",)
DATA_SETS = ("library.data.digits:Digits",)


@cache
def models() -> dict[str, Model[Any]]:
    """All models by name."""
    return {member.name: member() for member in map(resolve_name, MODELS)}


@cache
def data_sets() -> dict[str, DataSet]:
    """All data sets by name."""
    return {member.name: member() for member in map(resolve_name, DATA_SETS)}


def model(name: str) -> Model[Any]:
    """The model of this name; NotFound says which there are."""
    return _named("model", name, models())


def data_set(name: str) -> DataSet:
    """The data set of this name; NotFound says which there are."""
    return _named("data set", name, data_sets())


M = TypeVar("M")


def _named(kind: str, name: str, members: dict[str, M]) -> M:
    if name not in members:
        raise NotFound(f"the library has no {kind} {name!r}; it has {', '.join(sorted(members))}")
    return members[name]
