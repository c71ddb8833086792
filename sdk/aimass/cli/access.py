"""login, logout, whoami."""

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from aimass.cli import exits, output, profiles
from aimass.cli.session import Wanted, client_of, client_with
from aimass.client import log_in
from aimass.people import Me

LOOPBACK = ("127.0.0.1", "localhost", "::1")
Url = Annotated[str, typer.Argument(help="Where the gateway is, such as http://127.0.0.1:8080.", envvar=profiles.URL)]
UserName = Annotated[str, typer.Option("--user", help="Log in as this user, with a password, instead of a key.")]


def login(context: typer.Context, url: Url = "", user: UserName = "", as_json: output.AsJson = False) -> None:
    """Keep an address and an API key, or a user's session, in a file that only you can read.

    The key or the password is asked for, or read from the environment (AIMASS_API_KEY) or from stdin: never given as
    an argument, where others of the machine could see it.
    """
    wanted: Wanted = context.obj
    url = _address(url, wanted.profile)
    profile = _session(url, user, wanted) if user else profiles.Profile(url, _key())
    with client_with(profile, wanted) as client:
        me = client.me()
    path = profiles.keep(wanted.profile, profile)
    _show(profile, me, as_json)
    output.note(f"kept as profile '{wanted.profile}' in {path}" + _until(profile))


def logout(context: typer.Context, as_json: output.AsJson = False) -> None:
    """Forget what login kept; an API key goes on to count until it is revoked."""
    wanted: Wanted = context.obj
    if not profiles.forget(wanted.profile):
        exits.leave(exits.NOT_FOUND, f"there is no profile '{wanted.profile}': 'aimass login URL' makes one")
    if as_json:
        return output.document({"profile": wanted.profile, "forgotten": True})
    return output.line(f"profile '{wanted.profile}' is forgotten")


def whoami(context: typer.Context, as_json: output.AsJson = False) -> None:
    """Show where to and as whom commands go, and what is permitted."""
    with client_of(context) as client:
        me = client.me()
    _show(profiles.chosen(context.obj.profile), me, as_json)


def _show(profile: profiles.Profile, me: Me, as_json: bool) -> None:
    found: dict[str, Any] = {"url": profile.url, "user": profile.user, **me}
    output.facts(found, as_json)


def _address(url: str, name: str) -> str:
    kept = profiles.read().get(name)
    url = (url or (kept.url if kept else "")).rstrip("/")
    if problem := profiles.problem_of(profiles.Profile(url, "")):
        exits.leave(exits.USAGE, problem)
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        output.note("aimass: over http others on the way can read what is sent, this key too: use https where you can")
    return url


def _session(url: str, user: str, wanted: Wanted) -> profiles.Profile:
    """The token of a session; its end is a little earlier here, so that no command begins with one that is over."""
    with client_with(profiles.Profile(url, ""), wanted, retries=0) as anonymous:
        session = anonymous.run(log_in(user, _secret("Password")))
    end = datetime.now(UTC) + timedelta(seconds=session["expires_in"] - 5)
    return profiles.Profile(url, session["access_token"], user, end.isoformat(timespec="seconds"))


def _key() -> str:
    return os.environ.get(profiles.KEY) or _secret("API key")


def _secret(what: str) -> str:
    """From the person, unseen, or the first line of stdin where no person sits there."""
    given: str = typer.prompt(what, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not given.strip():
        exits.leave(exits.USAGE, f"no {what} was given: type it, or send it on stdin")
    return given.strip()


def _until(profile: profiles.Profile) -> str:
    return f", until {profile.expires_at}; an API key lasts longer" if profile.expires_at else ""
