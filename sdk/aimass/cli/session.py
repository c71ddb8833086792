"""The client of a command: as the options, the environment or a profile say."""

from dataclasses import dataclass
from datetime import UTC, datetime

import typer

from aimass import Client
from aimass.cli import exits, profiles
from aimass.signing import SessionAuth


@dataclass(frozen=True)
class Wanted:
    """What was said before the command's name."""

    profile: str
    timeout: float


def client_of(context: typer.Context) -> Client:
    """Ends the command where nobody has logged in, or where a session is over."""
    wanted: Wanted = context.obj
    try:
        found = profiles.chosen(wanted.profile)
    except profiles.NoProfile as error:
        exits.leave(exits.NOT_ALLOWED, f"{error}: run 'aimass login URL', or set {profiles.URL} and {profiles.KEY}")
    if found.refresh:
        auth = SessionAuth(found.url, found.tokens, profiles.KeptTokens(wanted.profile))
        return client_with(found, wanted, signed=auth)
    if found.expires_at and datetime.fromisoformat(found.expires_at) <= datetime.now(UTC):
        exits.leave(exits.NOT_ALLOWED, f"the session of {found.user} is over: run 'aimass login --user {found.user}'")
    return client_with(found, wanted)


def client_with(found: profiles.Profile, wanted: Wanted, retries: int = 2, signed: SessionAuth | None = None) -> Client:
    """Ends the command where the address or the key cannot be one."""
    if problem := profiles.problem_of(found):
        exits.leave(exits.USAGE, problem)
    return Client(found.url, signed or found.key, timeout=wanted.timeout, retries=retries)
