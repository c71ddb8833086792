"""What an API key is narrowed to, as the gateway checks it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from services.gateway.limits.bucket import Limit
from shared.errors import Forbidden
from shared.keys import BOUNDS, Bounds
from shared.permissions import Permission

NAMING: Final = ("model", "base_model", "teacher")


@dataclass(frozen=True, slots=True)
class Rules:
    """Of a key that is narrowed; who has none is only limited by what counts for all."""

    scopes: frozenset[Permission] | None
    models: tuple[str, ...]
    addresses: tuple[str, ...]
    own: Limit | None
    daily: int

    @classmethod
    def of(cls, given: Bounds) -> "Rules | None":
        if not given.model_fields_set & BOUNDS:
            return None
        scopes = None if given.scopes is None else frozenset(given.scopes)
        own = Limit.of(given.rate, given.burst, given.daily_requests) if given.rate is not None else None
        return _one_of(cls(scopes, given.models, given.addresses, own, given.daily_requests or 0))

    def within(self, permissions: frozenset[Permission]) -> frozenset[Permission]:
        return permissions if self.scopes is None else permissions & self.scopes

    def check(self, permission: Permission, model: str) -> None:
        self.check_scope(permission)
        if model:
            self.check_model(model)

    def check_scope(self, permission: Permission) -> None:
        """Raises Forbidden for what the key is not for, even where its roles permit it."""
        if self.scopes is not None and permission not in self.scopes:
            scopes = ", ".join(sorted(self.scopes))
            raise Forbidden(f"this API key is not for '{permission.value}': its scopes are {scopes}")

    def check_model(self, model: str) -> None:
        """Raises Forbidden for a model that the key is not for."""
        if self.models and not matches(self.models, model):
            patterns = ", ".join(self.models)
            raise Forbidden(f"this API key is not for the model '{model[:80]}': it is for {patterns}", field="model")

    def limit(self, otherwise: Limit | None) -> Limit | None:
        """Its own rate in place of that for all; its daily quota besides."""
        if self.own is not None or not self.daily:
            return self.own or otherwise
        return Limit(otherwise.burst, otherwise.interval, self.daily) if otherwise else Limit(0, 0, self.daily)


NONE = Rules(None, (), (), None, 0)


@lru_cache(maxsize=4096)
def _one_of(rules: Rules) -> Rules | None:
    """One for all keys that are narrowed alike, so that the processor has it at hand."""
    return None if rules == NONE else rules


@lru_cache(maxsize=4096)
def matches(patterns: tuple[str, ...], model: str) -> bool:
    """A `*` stands for no dot: what is of a project, one's own too, is named by it, or `ab.x` would be of `a*`."""
    return any(_as_regex(pattern).fullmatch(model) for pattern in patterns)


@lru_cache(maxsize=4096)
def _as_regex(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", "[^.]*"))


def is_within_models(patterns: tuple[str, ...], of: tuple[str, ...]) -> bool:
    """Whether these name nothing that those do not; a `*` is matched by a `*` alone."""
    return not of or (bool(patterns) and all(matches(of, pattern) for pattern in patterns))


def models_in(named: Any) -> Iterator[str]:
    """The models that a request names, however deep."""
    if isinstance(named, dict):
        for name, value in named.items():
            if name in NAMING and isinstance(value, str):
                yield value
            yield from models_in(value)
    elif isinstance(named, list | tuple):
        for each in named:
            yield from models_in(each)
