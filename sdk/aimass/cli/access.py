"""login, logout, whoami."""

import os
import sys
import time
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from aimass.cli import exits, output, profiles
from aimass.cli.browser import session_through
from aimass.cli.session import Wanted, client_of, client_with
from aimass.client import Client, log_in
from aimass.errors import ApiError, SecondFactorNeeded
from aimass.people import Me
from aimass.signing import SessionAuth, Tokens

LOOPBACK = ("127.0.0.1", "localhost", "::1")
Url = Annotated[str, typer.Argument(help="Where the gateway is, such as http://127.0.0.1:8080.", envvar=profiles.URL)]
UserName = Annotated[str, typer.Option("--user", help="Log in as this user, with a password, instead of a key.")]
Through = Annotated[str, typer.Option("--provider", help="Log in through this identity provider, in a browser.")]
Project = Annotated[
    str, typer.Option("--project", help="With --user: work in this project, where you were granted something.")
]


def login(
    context: typer.Context,
    url: Url = "",
    user: UserName = "",
    provider: Through = "",
    project: Project = "",
    as_json: output.AsJson = False,
) -> None:
    """Keep an address and an API key, or a user's session, in a file that only you can read.

    The key or the password is asked for, or read from the environment (AIMASS_API_KEY) or from stdin: never given as
    an argument, where others of the machine could see it.
    """
    wanted: Wanted = context.obj
    url = address_of(url, wanted.profile)
    if project and not user:
        exits.leave(exits.USAGE, "--project goes with --user: a key and an identity provider are of one project")
    profile = _profile(url, user, provider, project, wanted)
    with client_with(profile, wanted) as client:
        me = client.me()
    path = profiles.keep(wanted.profile, profile)
    _show(profile, me, as_json)
    output.note(f"kept as profile '{wanted.profile}' in {path}" + _until(profile))


def _profile(url: str, user: str, provider: str, project: str, wanted: Wanted) -> profiles.Profile:
    if user and provider:
        exits.leave(exits.USAGE, "--user and --provider are two ways: name one")
    if provider:
        tokens = Tokens.of(session_through(url, provider, wanted.timeout), time.time())
        return profiles.Profile(url, "", "").with_tokens(tokens)
    return _session(url, user, project, wanted) if user else profiles.Profile(url, _key())


def logout(context: typer.Context, as_json: output.AsJson = False) -> None:
    """End the session and forget what login kept; an API key goes on to count until it is revoked."""
    wanted: Wanted = context.obj
    _end(wanted)
    if not profiles.forget(wanted.profile):
        exits.leave(exits.NOT_FOUND, f"there is no profile '{wanted.profile}': 'aimass login URL' makes one")
    if as_json:
        return output.document({"profile": wanted.profile, "forgotten": True})
    return output.line(f"profile '{wanted.profile}' is forgotten")


def _end(wanted: Wanted) -> None:
    """A session that cannot be ended is forgotten all the same, and ends by itself."""
    kept = profiles.read().get(wanted.profile)
    if kept is None or not kept.refresh:
        return
    signed = SessionAuth(kept.url, kept.tokens, profiles.KeptTokens(wanted.profile))
    try:
        with client_with(kept, wanted, retries=0, signed=signed) as client:
            client.log_out()
    except ApiError as error:
        output.note(f"aimass: the session could not be ended, only forgotten: {error}")


def whoami(context: typer.Context, as_json: output.AsJson = False) -> None:
    """Show where to and as whom commands go, and what is permitted."""
    with client_of(context) as client:
        me = client.me()
    _show(profiles.chosen(context.obj.profile), me, as_json)


def _show(profile: profiles.Profile, me: Me, as_json: bool) -> None:
    found: dict[str, Any] = {"url": profile.url, "user": profile.user, **me}
    output.facts(found, as_json)


def address_of(url: str, name: str) -> str:
    kept = profiles.read().get(name)
    url = (url or (kept.url if kept else "")).rstrip("/")
    if problem := profiles.problem_of(profiles.Profile(url, "")):
        exits.leave(exits.USAGE, problem)
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        output.note("aimass: over http others on the way can read what is sent, this key too: use https where you can")
    return url


def _session(url: str, user: str, project: str, wanted: Wanted) -> profiles.Profile:
    """The tokens of a session; a code is asked for where one is needed."""
    password = secret("Password")
    with client_without_key(url, wanted) as anonymous:
        try:
            session = anonymous.run(log_in(user, password, project=project or None))
        except SecondFactorNeeded:
            session = anonymous.run(log_in(user, password, secret("Code"), project or None))
    if session["second_factor_missing"]:
        output.note("your role needs a second factor: 'aimass totp on' sets one up; nothing else is permitted before")
    return profiles.Profile(url, "", user).with_tokens(Tokens.of(session, time.time()))


def client_without_key(url: str, wanted: Wanted) -> Client:
    return client_with(profiles.Profile(url, ""), wanted, retries=0)


def _key() -> str:
    return os.environ.get(profiles.KEY) or secret("API key")


def secret(what: str) -> str:
    """From the person, unseen, or the first line of stdin where no person sits there."""
    given: str = typer.prompt(what, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not given.strip():
        exits.leave(exits.USAGE, f"no {what} was given: type it, or send it on stdin")
    return given.strip()


def _until(profile: profiles.Profile) -> str:
    return "; the session goes on by itself until it is unused for long, or 'aimass logout'" if profile.refresh else ""
