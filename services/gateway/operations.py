"""The operators' pages of all services, fetched from their ops ports for who may see them.

A browser cannot send a bearer key by itself: below ROOT it may give the key as the password of Basic credentials.
"""

import asyncio
import base64
import binascii
import http.client
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from shared import observe
from shared.errors import NotFound, Unavailable

ROOT = "/ops/"
CHALLENGE = 'Basic realm="AI Mass: any name, an API key or an access token as password", charset="UTF-8"'
PAGES = frozenset(
    {"", "status", "status.js", "ops.css", "asyncapi", "asyncapi.js", "asyncapi.json", "metrics", "readyz"}
)
KEPT_HEADERS = ("content-type", "content-security-policy")
FETCH_SECONDS = 5.0
LARGEST = 8 * 1024 * 1024


class OpsPage(NamedTuple):
    """What an ops port answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class OpsPorts:
    """The ops ports that the gateway was told of; nobody else is ever asked."""

    def __init__(self, urls: Mapping[str, str], seconds: float = FETCH_SECONDS) -> None:
        self._seconds = seconds
        self._addresses = {service: urlsplit(url).netloc for service, url in urls.items()}

    async def fetch(self, service: str, page: str) -> OpsPage:
        """One page of a service.

        Raises NotFound for a service or a page that is not known, Unavailable when its ops port does not answer.
        """
        address = self._addresses.get(service)
        if address is None or page not in PAGES:
            raise NotFound(f"there is no operators' page '{service}/{page}'")
        try:
            return await asyncio.to_thread(_get, address, page, self._seconds)
        except (OSError, http.client.HTTPException) as error:
            observe.log().warning("ops port does not answer", of=service, error=repr(error))
            raise Unavailable(f"the ops port of {service} does not answer now; try again") from error


def _get(address: str, page: str, seconds: float) -> OpsPage:
    """In a thread: a plain request of its own, because these pages are rare and must not weigh on the others."""
    connection = http.client.HTTPConnection(address, timeout=seconds)
    try:
        connection.request("GET", f"/{page}")
        answer = connection.getresponse()
        kept = {name: value for name in KEPT_HEADERS if (value := answer.getheader(name))}
        return OpsPage(answer.status, kept, answer.read(LARGEST))
    finally:
        connection.close()


def with_bearer(headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers with the password of Basic credentials as a bearer key; others stay as they are."""
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic":
        return headers
    try:
        _, _, key = base64.b64decode(given, validate=True).partition(b":")
    except binascii.Error:
        key = b""
    return headers | {b"authorization": b"Bearer " + key}
