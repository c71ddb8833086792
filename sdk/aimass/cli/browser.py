"""Logging in through an identity provider: the browser comes back to a port of this machine (RFC 8252)."""

import time
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from aimass.cli import exits, output
from aimass.errors import error_of
from aimass.sending import translated
from aimass.types import Session

WAIT_SECONDS = 300.0
DONE = b"<!doctype html><title>AI Mass</title><p>You are in: close this window and go on in the terminal."


class _Door(HTTPServer):
    """Takes the browser in, once."""

    came: dict[str, str] | None = None


class _Visit(BaseHTTPRequestHandler):
    server: _Door
    timeout = 5

    def do_GET(self) -> None:  # noqa: N802
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if {"state", "code"} <= query.keys():
            self.server.came = query
        self.send_response(200 if self.server.came else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(DONE if self.server.came else b"")

    def log_message(self, *_: Any) -> None:
        """What the browser brings is nobody else's business."""


def session_through(url: str, provider: str, timeout: float) -> Session:
    """The tokens of a session; the cookie stays here, so that nobody else can end this login."""
    with _Door(("127.0.0.1", 0), _Visit) as door, httpx.Client(base_url=url, timeout=timeout) as http, translated():
        forward_to = f"http://127.0.0.1:{door.server_port}/"
        path = f"/api/v1/login/oidc/{provider}"
        begun = http.get(path, params={"forward_to": forward_to})
        if begun.status_code != 303:
            raise error_of(begun)
        output.note("open this in a browser, if none opens by itself:")
        output.note(begun.headers["location"])
        webbrowser.open(begun.headers["location"])
        cookie = begun.headers["set-cookie"].partition(";")[0]
        ended = http.get(f"{path}/callback", params=_awaited(door), headers={"Cookie": cookie})
        if ended.status_code != 200:
            raise error_of(ended)
        session: Session = ended.json()
        return session


def _awaited(door: _Door) -> dict[str, str]:
    """What the browser brought; ends the command where it does not come."""
    door.timeout, end = 1.0, time.monotonic() + WAIT_SECONDS
    while door.came is None:
        if time.monotonic() > end:
            exits.leave(exits.NOT_ALLOWED, "the browser did not come back within five minutes")
        door.handle_request()
    return door.came
