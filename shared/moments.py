"""Times and days that people give, written out. Pydantic alone would take any number for seconds since 1970."""

from datetime import date
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator


def _written(given: Any) -> Any:
    if isinstance(given, int | float) or (isinstance(given, str) and "-" not in given.lstrip("-")):
        raise ValueError("a time is written as 2030-01-31T12:00:00Z")
    return given


def _written_day(given: Any) -> Any:
    if not isinstance(given, date) and not (isinstance(given, str) and len(given) == len("2030-01-31")):
        raise ValueError("a day is written as 2030-01-31")
    return given


Day = Annotated[date, BeforeValidator(_written_day)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
