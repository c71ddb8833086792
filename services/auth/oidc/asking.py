"""What is asked of a provider over HTTP: its discovery document, its keys, and the ID token for a code."""

import base64
import json
import time
from typing import Any
from urllib.parse import quote_plus, urlencode

from pydantic import BaseModel, ValidationError

from services.auth.oidc.checking import is_known
from services.auth.oidc.domain import Provider, is_safe
from shared import observe
from shared.errors import Unauthenticated, Unavailable
from shared.outbound import NotAllowed, Outbound, Unreached

KEPT_SECONDS = 300.0
MOST_KEPT = 100
AS_JSON = {"Accept": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


class Discovery(BaseModel):
    """What a provider says of itself; it may say more."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]


class Asking:
    """Documents are kept for five minutes; a key that is not among them has them asked for again."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._kept: dict[str, tuple[float, Any]] = {}

    async def discovery(self, issuer: str) -> Discovery:
        """Raises Unavailable for a provider that does not answer, or not as one."""
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            found = Discovery.model_validate(await self._document(url))
        except ValidationError as error:
            raise Unavailable(f"{issuer} describes itself without what is needed") from error
        if found.issuer != issuer:
            raise Unavailable("the provider names another issuer than the one it was registered with")
        if not all(is_safe(each) for each in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)):
            raise Unavailable("the provider names an endpoint that is not https")
        return found

    async def id_token(self, provider: Provider, secret: str, code: str, verifier: str) -> str:
        """Trade the code; raises Unauthenticated where the provider refuses it."""
        found = await self.discovery(provider.issuer)
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": provider.redirect_uri}
        form |= {"code_verifier": verifier}
        headers = dict(FORM)
        if secret and "client_secret_basic" in found.token_endpoint_auth_methods_supported:
            pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": provider.client_id} | ({"client_secret": secret} if secret else {})
        status, body = await self._ask("POST", found.token_endpoint, headers, urlencode(form).encode())
        if status >= 500:
            raise Unavailable("the provider could not trade the code now: log in again")
        token = _read(body).get("id_token") if status == 200 else None
        if not isinstance(token, str):
            observe.log().warning("a provider refused a code", provider=provider.name, status=status)
            raise Unauthenticated("the provider did not take the code: log in again")
        return token

    async def keys(self, provider: Provider, token: str) -> list[dict[str, Any]]:
        url = (await self.discovery(provider.issuer)).jwks_uri
        found = _keys(await self._document(url))
        return found if is_known(token, found) else _keys(await self._document(url, anew=True))

    async def _document(self, url: str, *, anew: bool = False) -> dict[str, Any]:
        asked_at, found = self._kept.get(url, (0.0, None))
        if found is not None and not anew and time.monotonic() - asked_at < KEPT_SECONDS:
            return dict(found)
        status, body = await self._ask("GET", url, AS_JSON)
        if status != 200:
            raise Unavailable(f"the provider answers {status} where its documents should be")
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[url] = time.monotonic(), _read(body)
        return dict(self._kept[url][1])

    async def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        try:
            return await self._outbound.exchange(method, url, headers, body)
        except (NotAllowed, Unreached) as error:
            observe.log().warning("a provider was not reached", error=repr(error))
            raise Unavailable(f"the provider is not reached: {error.message}") from error


def _keys(document: dict[str, Any]) -> list[dict[str, Any]]:
    found = document.get("keys")
    return [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []


def _read(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable("the provider's answer is no JSON object")
    return found
