"""The ranges that a study draws from, read from the schema of a member's config; pure."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from library.base import Model
from shared.errors import InvalidInput
from shared.tuning import Choice, Range

KINDS: dict[str, Literal["int", "float"]] = {"integer": "int", "number": "float"}


class Dimension(BaseModel):
    """One parameter: a range of whole or other numbers with both ends, on a linear or a log scale, or some choices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["int", "float", "choice"]
    minimum: float = 0
    maximum: float = 0
    log: bool = False
    choices: tuple[Choice, ...] = ()
    points: int = 3

    def at(self, place: float) -> Choice:
        """The value at a place from 0 to 1 of a range."""
        low, high = self._scaled(self.minimum), self._scaled(self.maximum)
        scaled = low + (high - low) * min(1.0, max(0.0, place))
        value = min(self.maximum, max(self.minimum, math.exp(scaled) if self.log else scaled))
        value = self.minimum if place <= 0 else self.maximum if place >= 1 else value
        return round(value) if self.kind == "int" else value

    def place(self, value: Any) -> float:
        """The way back."""
        low, high = self._scaled(self.minimum), self._scaled(self.maximum)
        return 0.5 if low == high else (self._scaled(float(value)) - low) / (high - low)

    def values(self) -> list[Choice]:
        """The points of a grid, in order and each once."""
        if self.kind == "choice":
            return list(self.choices)
        return list(dict.fromkeys(self.at(point / (self.points - 1)) for point in range(self.points)))

    def holds(self, value: Any) -> bool:
        if self.kind == "choice":
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        return self.minimum <= float(value) <= self.maximum

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


Space = dict[str, Dimension]


def read_space(model: Model[Any], fixed: Mapping[str, Any], ranges: Mapping[str, Range]) -> Space:
    """The fields of the member's config that are a tuner's to set and not fixed, with the ranges that were given.

    Raises InvalidInput naming the field.
    """
    properties = model.config.model_json_schema()["properties"]
    tuned = {name: _own(facts) for name, facts in properties.items() if facts.get("x-tune", True)}
    for name in ranges:
        _check_name(name, properties, tuned, fixed)
    found = {
        name: _narrowed(name, own, ranges[name]) if name in ranges else own
        for name, own in tuned.items()
        if name not in fixed and (own is not None or name in ranges)
    }
    space = {name: dimension for name, dimension in found.items() if dimension is not None}
    for name in ranges:
        _check_ends(model, fixed, name, space[name])
    if not any(len(dimension.values()) > 1 for dimension in space.values()):
        raise InvalidInput(
            "space: there is nothing to tune: all fields are fixed, or have but one value", field="space"
        )
    return space


def _own(facts: Mapping[str, Any]) -> Dimension | None:
    """What a field may be by itself; nothing where the schema gives neither both ends nor choices."""
    if "enum" in facts:
        return Dimension(kind="choice", choices=tuple(facts["enum"]))
    if facts.get("type") == "boolean":
        return Dimension(kind="choice", choices=(False, True))
    if facts.get("type") not in KINDS or "minimum" not in facts or "maximum" not in facts:
        return None
    log = facts.get("x-scale") == "log" and facts["minimum"] > 0
    return Dimension(kind=KINDS[facts["type"]], minimum=facts["minimum"], maximum=facts["maximum"], log=log)


def _check_name(
    name: str, properties: Mapping[str, Any], tuned: Mapping[str, Dimension | None], fixed: Mapping[str, Any]
) -> None:
    if name not in properties:
        raise _wrong(name, f"there is no such field; there are {', '.join(sorted(tuned))}")
    if name not in tuned:
        raise _wrong(name, f"this field is not a tuner's to set: fix it by config.{name}")
    if name in fixed:
        raise _wrong(name, f"config.{name} fixes it: leave one of them out")


def _narrowed(name: str, own: Dimension | None, given: Range) -> Dimension:
    bounds = (given.minimum, given.maximum, given.scale)
    if given.choices is not None:
        if bounds != (None, None, None):
            raise _wrong(name, "give either choices or bounds")
        return Dimension(kind="choice", choices=tuple(dict.fromkeys(given.choices)))
    if own is None or own.kind == "choice":
        raise _wrong(name, "give its choices: it has no bounds")
    minimum = own.minimum if given.minimum is None else given.minimum
    maximum = own.maximum if given.maximum is None else given.maximum
    if minimum > maximum:
        raise _wrong(name, f"minimum {minimum:g} is above maximum {maximum:g}")
    if own.kind == "int" and not (float(minimum).is_integer() and float(maximum).is_integer()):
        raise _wrong(name, "its bounds must be whole numbers")
    log = own.log if given.scale is None else given.scale == "log"
    if log and minimum <= 0:
        raise _wrong(name, "a log scale begins above 0: give a minimum, or scale: linear")
    return Dimension(kind=own.kind, minimum=minimum, maximum=maximum, log=log, points=given.points)


def _check_ends(model: Model[Any], fixed: Mapping[str, Any], name: str, dimension: Dimension) -> None:
    """The member itself must take what was given: both ends, or each choice."""
    ends = dimension.choices if dimension.kind == "choice" else (dimension.at(0), dimension.at(1))
    for value in ends:
        try:
            model.validate({**fixed, name: value})
        except InvalidInput as error:
            raise _wrong(name, f"{value!r} cannot be: {error.message.partition(': ')[2]}") from error


def _wrong(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"space.{name}: {message}", field=f"space.{name}")
