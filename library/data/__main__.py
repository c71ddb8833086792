"""Brings the archives of data sets, and of weights that models begin with, into the cache.

`python -m library.data [NAME ...]`, all without names; a model brings its data set too.
"""

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import library
from library.base import DataSet, Model
from library.sources.archives import cache
from shared.errors import AimassError


def fetch(names: list[str]) -> int:
    """The exit status: 1 where one could not be had, after all others were."""
    failed = 0
    for name in names or sorted({*library.data_sets(), *library.models()}):
        try:
            for member in _members(name):
                member.fetch(partial(print, f"{name}:", flush=True))
            print(f"{name}: here")
        except AimassError as error:
            failed = 1
            print(f"{name}: {error.message}", file=sys.stderr)
    print(f"The archives lie in {cache()}")
    return failed


def _members(name: str) -> Iterator[DataSet | Model[Any]]:
    if name in library.models():
        yield (model := library.model(name))
        name = model.dataset
    yield library.data_set(name)


if __name__ == "__main__":
    raise SystemExit(fetch(sys.argv[1:]))
