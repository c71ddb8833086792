"""Times that people give: written out with their zone. Pydantic alone would take any number for seconds since 1970."""

from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator


def _written(given: Any) -> Any:
    if isinstance(given, int | float) or (isinstance(given, str) and "-" not in given.lstrip("-")):
        raise ValueError("a time is written as 2030-01-31T12:00:00Z")
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
