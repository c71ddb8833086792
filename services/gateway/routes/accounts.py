"""Service accounts, and where their secrets are traded for access tokens, as OAuth 2.0 has it (RFC 6749, 4.4)."""

import base64
import binascii
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote_plus

from fastapi import Path, Request, Response
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import JSONResponse

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.errors import Unauthenticated
from shared.permissions import Permission
from shared.rpc import accounts as rpc
from shared.rpc.accounts import SERVICE

ROUTES = Routes("service accounts")
TOKEN = f"{PREFIX}/token"
FORM = "application/x-www-form-urlencoded"
FIELDS = ("grant_type", "client_id", "client_secret", "scope")
AccountId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]
_TEXT = {"type": "string", "maxLength": 200}
FORM_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["grant_type"],
                    "properties": {"grant_type": {"const": "client_credentials"}, **dict.fromkeys(FIELDS[1:], _TEXT)},
                }
            }
        },
    }
}
STATUSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "invalid_request, or unsupported_grant_type"},
    401: {"description": "invalid_client"},
}


class TokenAnswer(BaseModel):
    """An access token of a service account (RFC 6749, 5.1)."""

    access_token: str
    token_type: str
    expires_in: int


class Rotation(BaseModel):
    """How long the secret of before goes on to count."""

    model_config = ConfigDict(extra="forbid")
    overlap_seconds: rpc.Overlap = 86400


class Refused(Exception):
    """An error as the RFC names it (5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status


@ROUTES.add("GET", "/service-accounts", Permission.KEYS_MANAGE)
async def list_service_accounts(caller: CallerOf) -> rpc.ServiceAccountList:
    """The service accounts of the project by name, without their secrets."""
    return await caller.ask(rpc.ListServiceAccounts(), service=SERVICE)


@ROUTES.add("POST", "/service-accounts", Permission.KEYS_MANAGE, status_code=201)
async def create_service_account(
    body: rpc.CreateServiceAccount, caller: CallerOf, response: Response, idempotency_key: IdempotencyKey = ""
) -> rpc.ServiceAccountWithSecret:
    """Let software ask in its own name; the secret is in this answer and nowhere else.

    The same Idempotency-Key makes no second account: a repeat is answered with 409, which names the one that was made.
    """
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(body, service=SERVICE, idempotency_key=idempotency_key)


@ROUTES.add("POST", "/service-accounts/{account_id}/secret", Permission.KEYS_MANAGE)
async def rotate_service_account(
    account_id: AccountId, body: Rotation, caller: CallerOf, response: Response
) -> rpc.ServiceAccountWithSecret:
    """Make another secret; the one before goes on for as long as the body says, a day if it does not."""
    response.headers["Cache-Control"] = "no-store"
    asked = rpc.RotateServiceAccount(account_id=account_id, overlap_seconds=body.overlap_seconds)
    return await caller.ask(asked, service=SERVICE)


@ROUTES.add("DELETE", "/service-accounts/{account_id}", Permission.KEYS_MANAGE, status_code=204)
async def delete_service_account(account_id: AccountId, caller: CallerOf) -> None:
    """Refuse a service account and its tokens from now on."""
    await caller.ask(rpc.DeleteServiceAccount(account_id=account_id), service=SERVICE)


@ROUTES.add("POST", "/token", None, FORM_BODY, response_model=TokenAnswer, responses=STATUSES)
async def issue_token(request: Request, caller: CallerOf) -> Response:
    """Trade a client id and secret for an access token: client_secret_basic or client_secret_post."""
    given = request.headers.get("authorization", "")
    try:
        asked = _asked(request.headers.get("content-type", ""), await request.body(), given, caller.address)
        issued = await caller.ask(asked, service=SERVICE)
    except Unauthenticated as error:
        return _refusal(Refused("invalid_client", error.message, 401))
    except Refused as error:
        return _refusal(error)
    answer = TokenAnswer.model_validate(issued, from_attributes=True)
    return JSONResponse(answer.model_dump(), headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


def _refusal(error: Refused) -> Response:
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="aimass"'
    return JSONResponse({"error": error.error, "error_description": error.description}, error.status, headers)


def _asked(content_type: str, body: bytes, authorization: str, address: str) -> rpc.IssueToken:
    form = _form(content_type, body)
    if (grant := form.get("grant_type")) != "client_credentials":
        if grant is None:
            raise Refused("invalid_request", "grant_type is missing: it is client_credentials")
        raise Refused("unsupported_grant_type", "only client_credentials is known here")
    client_id, client_secret = _client(form, authorization)
    try:
        return rpc.IssueToken(client_id=client_id, client_secret=client_secret, address=address)
    except ValidationError:
        raise Refused("invalid_client", "the client id or the client secret is wrong", 401) from None


def _form(content_type: str, body: bytes) -> dict[str, str]:
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise Refused("invalid_request", f"the body is a form, {FORM}")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError:
        raise Refused("invalid_request", "the body cannot be read as a form") from None
    if len({name for name, _ in pairs}) < len(pairs):
        raise Refused("invalid_request", "a parameter is given twice")
    return dict(pairs)


def _client(form: dict[str, str], authorization: str) -> tuple[str, str]:
    """By the header or by the form, not by both (RFC 6749, 2.3)."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    if "client_secret" in form:
        raise Refused("invalid_request", "the secret is given twice: in the header and in the form")
    try:
        name, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Refused("invalid_client", "the Authorization header cannot be read", 401) from None
    return unquote_plus(name), unquote_plus(secret)
