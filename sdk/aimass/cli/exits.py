"""Exit codes, and one sentence on stderr for each thing that goes wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import typer

from aimass import errors

TASK_FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
NOT_ALLOWED: Final = 4
UNREACHABLE: Final = 5
CONFLICT: Final = 6
OTHER: Final = 7
INTERRUPTED: Final = 130

CODES: Final[dict[type[errors.ApiError], int]] = {
    errors.Invalid: USAGE,
    errors.TooLarge: USAGE,
    errors.NotFound: NOT_FOUND,
    errors.Unauthenticated: NOT_ALLOWED,
    errors.SecondFactorNeeded: NOT_ALLOWED,
    errors.Forbidden: NOT_ALLOWED,
    errors.Unavailable: UNREACHABLE,
    errors.DeadlineExceeded: UNREACHABLE,
    errors.TooManyAttempts: UNREACHABLE,
    errors.Conflict: CONFLICT,
}
HINTS: Final[dict[type[errors.ApiError], str]] = {
    errors.Unauthenticated: "log in again with 'aimass login'",
    errors.Forbidden: "ask an administrator for a role that has it",
    errors.TooManyAttempts: "try again later",
    errors.DeadlineExceeded: "try again, or look with 'aimass whoami' whether the address is right",
}


def leave(code: int, sentence: str) -> NoReturn:
    """End with a sentence on stderr that says what to do."""
    typer.echo(f"aimass: {sentence}", err=True)
    raise typer.Exit(code)


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong inside ends the command with its code and a sentence."""
    try:
        yield
    except errors.ApiError as error:
        leave(CODES.get(type(error), OTHER), sentence_of(error))
    except TimeoutError as error:
        leave(UNREACHABLE, str(error))
    except KeyboardInterrupt:
        leave(INTERRUPTED, "interrupted: nothing more is waited for")
    except BrokenPipeError:
        raise  # who reads has had enough
    except OSError as error:
        leave(USAGE, f"{error.filename or 'a file'} cannot be used: {error.strerror or error}")


def sentence_of(error: errors.ApiError) -> str:
    """What was refused, where, and what to do about it."""
    where = f"{error.field}: " if error.field and not error.detail.startswith(error.field) else ""
    hint = HINTS.get(type(error))
    if isinstance(error, errors.Unavailable):
        hint = (
            "try again" if error.status else "look whether it runs, and whether the address is right ('aimass login')"
        )
    return f"{where}{error.detail}" + (f": {hint}" if hint and hint not in error.detail else "")
