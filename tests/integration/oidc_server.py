"""The OpenID provider of the package oidc-provider-mock, which here insists on PKCE by authlib's own extension of it.

Started as a process of its own: python -m tests.integration.oidc_server PORT SECONDS_OF_TOKENS
"""

import sys
from datetime import timedelta
from typing import Any

import oidc_provider_mock._app as provider
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc7636 import CodeChallenge
from werkzeug.serving import make_server

CHALLENGES: dict[str, dict[str, str]] = {}
register, save = AuthorizationServer.register_grant, provider.AuthorizationCodeGrant.save_authorization_code


class Pkce(CodeChallenge):
    """With S256 alone."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]

    def get_authorization_code_challenge(self, authorization_code: Any) -> str:
        return CHALLENGES[authorization_code.code]["challenge"]

    def get_authorization_code_challenge_method(self, authorization_code: Any) -> str:
        return CHALLENGES[authorization_code.code]["method"]


def save_with_challenge(self: Any, code: str, request: Any) -> None:
    data = request.payload.data
    CHALLENGES[code] = {"challenge": data["code_challenge"], "method": data["code_challenge_method"]}
    save(self, code, request)


def register_with_pkce(self: Any, grant: Any, extensions: Any = None) -> None:
    is_code = grant is provider.AuthorizationCodeGrant
    register(self, grant, [*(extensions or []), Pkce(required=True)] if is_code else extensions)


def main() -> None:
    provider.AuthorizationCodeGrant.save_authorization_code = save_with_challenge
    AuthorizationServer.register_grant = register_with_pkce
    app = provider.app(access_token_max_age=timedelta(seconds=int(sys.argv[2])), require_client_registration=True)
    make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
