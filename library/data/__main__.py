"""Brings the archives of data sets into the cache: `python -m library.data [NAME ...]`, all without names."""

import sys
from functools import partial

import library
from library.source import cache
from shared.errors import AimassError


def fetch(names: list[str]) -> int:
    """The exit status: 1 where one could not be had, after all others were."""
    failed = 0
    for name in names or sorted(library.data_sets()):
        try:
            library.data_set(name).fetch(partial(print, f"{name}:", flush=True))
            print(f"{name}: here")
        except AimassError as error:
            failed = 1
            print(f"{name}: {error.message}", file=sys.stderr)
    print(f"The archives lie in {cache()}")
    return failed


if __name__ == "__main__":
    raise SystemExit(fetch(sys.argv[1:]))
