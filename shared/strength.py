"""Secrets that others could try from outside this machine: none is empty, short, or made of few characters. Pure."""

from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

SHORTEST: Final = 16
FEWEST_CHARACTERS: Final = 6


class Guarded(NamedTuple):
    """What a secret guards: the setting that holds it, where the server is, and the secret."""

    setting: str
    url: str
    secret: str


def weakness(guarded: Guarded) -> str:
    """What is wrong with a secret, or nothing; on this machine alone every secret will do."""
    if is_local(guarded.url) or is_strong(guarded.secret):
        return ""
    found = "is too easy to guess" if guarded.secret else "is missing"
    return f"{guarded.setting} {found}: at least {SHORTEST} random characters, as `openssl rand -hex 24` makes them"


def is_strong(secret: str) -> bool:
    return len(secret) >= SHORTEST and len(set(secret)) >= FEWEST_CHARACTERS


def is_local(url: str) -> bool:
    """Whether only this machine reaches what is there; a database without a host is a socket in a folder."""
    host = urlsplit(url if "://" in url else f"//{url}").hostname
    if host is None or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
