"""Where a request comes from: the other end of its connection, unless that is a proxy that is trusted to say."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from shared.errors import Forbidden

UNKNOWN = "unknown"
FORWARDED_FOR = b"x-forwarded-for"
SIX_PREFIX = 64
PORTED = re.compile(r"(?:(?P<four>[0-9.]+)|\[(?P<six>[^]]+)\])(?::[0-9]{1,5})?")
Headers = Iterable[tuple[bytes, bytes]]
Address = IPv4Address | IPv6Address


class Origins:
    """Tells the address of a caller; what a caller claims of himself in X-Forwarded-For counts nothing."""

    def __init__(self, trusted: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._trusted = tuple(str(network) for network in trusted)

    def of(self, scope: Any) -> str:
        client = scope.get("client")
        return self.seen(client[0] if client else UNKNOWN, scope["headers"] if self._trusted else ())

    def seen(self, peer: str, headers: Headers) -> str:
        """Of the addresses that proxies wrote, each its own peer, the last that is no trusted proxy."""
        if not self._trusted or not is_within(peer, self._trusted):
            return peer
        found = peer
        told = b",".join(value for name, value in headers if name == FORWARDED_FOR).decode("latin-1")
        for claimed in reversed(told.split(",")):
            if (address := _claimed(claimed.strip())) is None:
                return found
            found = str(address)
            if not is_within(found, self._trusted):
                return found
        return found


def check_address(address: str, networks: tuple[str, ...]) -> None:
    """Raises Forbidden for an address that is in none of them."""
    if networks and not is_within(address, networks):
        raise Forbidden(f"this API key may not be used from {address}: it is for certain addresses alone")


@lru_cache(maxsize=4096)
def is_within(address: str, networks: tuple[str, ...]) -> bool:
    found = _parsed(address)
    return found is not None and any(_holds(network, found) for network in networks)


def _holds(network: str, address: Address) -> bool:
    return address in ip_network(network)


def _claimed(text: str) -> Address | None:
    """As proxies write one: some with the port, 192.0.2.1:5000, and then IPv6 in brackets, [::1]:5000."""
    if (found := _parsed(text)) is None and (ported := PORTED.fullmatch(text)):
        found = _parsed(ported["six"] or ported["four"])
    return found


def _parsed(text: str) -> Address | None:
    """IPv4 in IPv6's clothes is the IPv4 address."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def household(address: str) -> str:
    """What counts as one stranger: an IPv4 address, or the network that one host of IPv6 chooses its addresses from."""
    found = _parsed(address)
    if found is None or found.version == 4:
        return str(found or UNKNOWN)
    return str(ip_network((int(found) >> SIX_PREFIX << SIX_PREFIX, SIX_PREFIX)))


def of_grpc(peer: str) -> str:
    """The address in what gRPC calls a peer, such as ipv4:192.0.2.1:5000 or ipv6:%5B::1%5D:5000."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return UNKNOWN
    return rest.replace("%5B", "[").replace("%5D", "]").rpartition(":")[0].strip("[]").replace("%25", "%")
