"""What the command line sends about people: logins in a project, and identity providers; a server only listens."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from aimass.cli import exits, main, profiles
from typer.testing import CliRunner, Result

from services.gateway.routes.oidc import IdentityProviderChange
from shared.rpc.oidc import CreateIdentityProvider
from shared.rpc.sessions import Login

PROVIDER = {
    "name": "corp",
    "issuer": "https://id.example.com",
    "client_id": "aimass",
    "redirect_uri": "https://ai.example.com/back",
    "group_roles": {"ml=team": ["engineer"]},
    "default_roles": ["viewer"],
    "disabled_at": None,
}
SESSION = {
    "access_token": "a.b.c",
    "refresh_token": "air_x",
    "session_id": "s",
    "expires_in": 900,
    "second_factor_missing": False,
}
ME = {"id": "u", "name": "ada", "project": "shop", "kind": "user", "permissions": []}
ANSWERS: dict[str, Any] = {"/api/v1/login": SESSION, "/api/v1/me": ME}


class Listener(ThreadingHTTPServer):
    """Answers what a gateway would, and keeps what it was sent."""

    heard: list[tuple[str, str, Any]]


class _Hears(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        self.server.heard.append((self.command, self.path, body))
        is_list = (self.command, self.path) == ("GET", "/api/v1/identity-providers")
        answer = {"providers": [PROVIDER]} if is_list else ANSWERS.get(self.path, PROVIDER)
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PATCH = do_DELETE = do_POST  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    with Listener(("127.0.0.1", 0), _Hears) as server:
        server.heard = []
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.setenv(profiles.URL, f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv(profiles.KEY, "aim_x")
        yield server
        server.shutdown()


def run(*arguments: str, code: int = 0, given: str = "") -> Result:
    done = CliRunner().invoke(main.app, arguments, input=given)
    assert done.exit_code == code, done.output
    return done


def test_a_login_names_the_project(gateway: Listener) -> None:
    run("login", "--user", "ada", "--project", "shop", given="a password\n")
    method, path, body = gateway.heard[0]
    assert (method, path) == ("POST", "/api/v1/login") and Login.model_validate(body).project == "shop"
    run("login", "--user", "ada", given="a password\n")
    logins = [Login.model_validate(body) for _, path, body in gateway.heard if path == "/api/v1/login"]
    assert [each.project for each in logins] == ["shop", None]


@pytest.mark.parametrize("beside", [(), ("--provider", "corp")])
def test_a_project_goes_with_a_password_alone(gateway: Listener, beside: tuple[str, ...]) -> None:
    assert "--user" in run("login", "--project", "shop", *beside, code=exits.USAGE).output
    assert not gateway.heard


def test_a_provider_is_added_with_a_secret_that_is_no_argument(gateway: Listener) -> None:
    facts = ("corp", "https://id.example.com", "aimass", "https://ai.example.com")
    groups = ("--group", "ml=team=engineer", "--group", "ml=team=viewer", "--group", "all=viewer")
    run("providers", "add", *facts, *groups, "--role", "viewer", "--scope", "openid", given="hush\n")
    run("providers", "add", *facts, "--without-secret", "--groups-claim", "teams")
    first, second = (CreateIdentityProvider.model_validate(body) for _, _, body in gateway.heard)
    assert first.group_roles == {"ml=team": ["engineer", "viewer"], "all": ["viewer"]}
    assert (first.client_secret, first.scopes, first.default_roles) == ("hush", ["openid"], ["viewer"])
    assert (second.client_secret, second.groups_claim, second.group_roles) == ("", "teams", {})
    run("providers", "add", *facts, "--group", "no-role", "--without-secret", code=exits.USAGE)


def test_only_what_is_named_changes(gateway: Listener) -> None:
    run("providers", "change", "corp", "--disable")
    run("providers", "change", "corp", "--enable", "--new-secret", "--group", "all=viewer", given="hush\n")
    run("providers", "change", "corp", code=exits.USAGE)
    run("providers", "remove", "corp")
    first, second, removed = gateway.heard
    assert first == ("PATCH", "/api/v1/identity-providers/corp", {"disabled": True})
    assert second[2] == {"disabled": False, "client_secret": "hush", "group_roles": {"all": ["viewer"]}}
    assert IdentityProviderChange.model_validate(second[2]).disabled is False
    assert removed == ("DELETE", "/api/v1/identity-providers/corp", None)


def test_providers_are_listed_with_what_they_give(gateway: Listener) -> None:
    assert "viewer ml=team=engineer" in run("providers", "list").output
    assert json.loads(run("providers", "list", "--json").stdout) == [PROVIDER]
