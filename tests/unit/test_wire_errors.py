"""Errors that services answer with: what is read is what was said."""

from services.inference.engine import Overdue
from shared.errors import DeadlineExceeded, from_wire


def test_an_error_of_one_service_alone_does_not_stand_for_the_one_that_all_know() -> None:
    read = from_wire({"code": Overdue.code, "message": "too late", "field": "q", "retry_after": 2})
    assert (type(read), read.message, read.field, read.retry_after) == (DeadlineExceeded, "too late", "q", 2)
