"""Where to and with what: from the environment, or from a file of the user's that nobody else may read."""

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer

from aimass.signing import Tokens

try:
    import fcntl
except ImportError:  # on Windows, where programs at once may have to log in again
    fcntl = None  # type: ignore[assignment]

URL: Final = "AIMASS_URL"
KEY: Final = "AIMASS_API_KEY"
PROFILE: Final = "AIMASS_PROFILE"
DEFAULT: Final = "default"
ADDRESS: Final = r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[\x21-\x7e]*)?"


@dataclass(frozen=True)
class Profile:
    """An address with an API key, or with a session's tokens and the time when the first of them ends (RFC 3339)."""

    url: str
    key: str
    user: str = ""
    expires_at: str = ""
    refresh: str = ""

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.key, self.refresh, datetime.fromisoformat(self.expires_at).timestamp())

    def with_tokens(self, tokens: Tokens) -> "Profile":
        end = datetime.fromtimestamp(tokens.ends_at, UTC).isoformat(timespec="seconds")
        return replace(self, key=tokens.access, refresh=tokens.refresh, expires_at=end)


class NoProfile(Exception):
    """Nobody has logged in here."""


def problem_of(profile: Profile) -> str | None:
    """What is wrong with an address or a key before anything is sent, as one sentence."""
    if not re.fullmatch(ADDRESS, profile.url):
        return f"'{profile.url}' is no address: give one such as http://127.0.0.1:8080"
    if not re.fullmatch(r"[\x21-\x7e]*", profile.key):
        return "that is no API key: it holds a character that no key has"
    return None


def file() -> Path:
    return Path(typer.get_app_dir("aimass")) / "profiles.json"


def chosen(name: str) -> Profile:
    """The address and key of the environment, or those of a profile where it names none.

    A key is never sent to another address than that it was kept for. Raises NoProfile.
    """
    url, key = os.environ.get(URL, ""), os.environ.get(KEY, "")
    if url and key:
        return Profile(url, key)
    kept = read().get(name)
    if kept is None or (url and url.rstrip("/") != kept.url.rstrip("/")):
        raise NoProfile(f"{KEY} is not set, and no key is kept for {url}" if url else "nobody has logged in here")
    return Profile(kept.url, key) if key else kept


def read() -> dict[str, Profile]:
    try:
        text = file().read_text()
    except FileNotFoundError:
        return {}
    try:
        return {name: Profile(**kept) for name, kept in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        raise OSError(errno.EINVAL, "it is broken: remove it and log in again", str(file())) from None


def keep(name: str, profile: Profile) -> Path:
    return _write(read() | {name: profile})


def forget(name: str) -> bool:
    """Whether there was such a profile."""
    kept = read()
    if kept.pop(name, None) is None:
        return False
    _write(kept)
    return True


class KeptTokens:
    """The tokens of a profile, which all commands refresh together: each reads what another one has got."""

    def __init__(self, name: str) -> None:
        self._name = name

    @contextmanager
    def locked(self) -> Iterator[None]:
        path = file().with_suffix(".lock")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "w") as handle:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def read(self) -> Tokens | None:
        kept = read().get(self._name)
        return kept.tokens if kept and kept.refresh else None

    def write(self, tokens: Tokens) -> None:
        if kept := read().get(self._name):
            keep(self._name, kept.with_tokens(tokens))


def _write(kept: dict[str, Profile]) -> Path:
    """Whole or not at all, and never readable by others: a file of mkstemp has the mode 0600."""
    path = file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as target:
        json.dump({name: asdict(profile) for name, profile in kept.items()}, target, indent=2)
    return Path(name).replace(path)
