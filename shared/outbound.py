"""Requests to places that others name: never to an address of inside, whatever a name resolves to and when.

The address is checked where the connection is made, so that no second look at the name can give another one.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import httpcore

from shared.errors import AimassError

LONGEST_ANSWER = 1024 * 1024
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48")


class NotAllowed(AimassError):
    """The host is not on the internet: private, loopback and link-local addresses are not called."""

    code = "not_allowed"


class Unreached(AimassError):
    """The receiver was not reached."""

    code = "unreached"


def is_public(address: str) -> bool:
    """Whether an address is one of the internet, also where it holds another one."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if any(found in network for network in _TRANSLATED) or found.teredo:
            return False
        held = found.ipv4_mapped or found.sixtofour
        if held is not None and not is_public(str(held)):
            return False
        if found.ipv4_mapped:
            return True
    return found.is_global and not found.is_multicast and not found.is_reserved


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses alone, unless `inside` is allowed."""

    def __init__(self, *, inside: bool) -> None:
        self._inside = inside
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        *others, last = await self._addresses(host, port)
        for address in others:
            with suppress(httpcore.ConnectError):
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
        return await self._network.connect_tcp(last, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise NotAllowed()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Unreached("the name of the host is not known") from None
        allowed = [str(entry[4][0]) for entry in found if self._inside or is_public(str(entry[4][0]))]
        if not allowed:
            raise NotAllowed()
        return allowed


class Outbound:
    """Asks, each time over a connection of its own; never follows a redirect, and reads no more than it must."""

    def __init__(self, seconds: float, *, inside: bool) -> None:
        self._seconds = seconds
        self._network = PublicNetwork(inside=inside)
        self._tls = ssl.create_default_context()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        """The status that the receiver answers with, of whose answer no more is read."""
        return (await self._bounded("POST", url, headers, body, 0))[0]

    async def exchange(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, bytes]:
        """Status and body of an answer; raises Unreached for one that is longer than a megabyte."""
        return await self._bounded(method, url, headers or {}, body, LONGEST_ANSWER)

    async def _bounded(
        self, method: str, url: str, headers: dict[str, str], body: bytes, limit: int
    ) -> tuple[int, bytes]:
        """Raises NotAllowed or Unreached."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._ask(method, url, headers, body, limit)
        except TimeoutError:
            raise Unreached(f"the receiver did not answer within {self._seconds:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise Unreached(f"the receiver was not reached: {type(error).__name__}") from error

    async def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes, limit: int) -> tuple[int, bytes]:
        network, tls = self._network, self._tls
        async with (
            httpcore.AsyncConnectionPool(network_backend=network, ssl_context=tls) as pool,
            pool.stream(method, url, headers=list(headers.items()), content=body) as response,
        ):
            return int(response.status), await _read(response, limit) if limit else b""


async def _read(response: httpcore.Response, limit: int) -> bytes:
    found = b""
    async for part in response.aiter_stream():
        found += part
        if len(found) > limit:
            raise Unreached(f"the answer is longer than {limit} bytes")
    return found
