"""Compressed bodies, both ways: gzip and deflate, as Triton and its clients have them."""

import asyncio
import zlib
from typing import ClassVar, Final

from services.gateway.bodies import check_size
from shared.errors import AimassError, InvalidInput
from shared.tensors import Raw

IDENTITY: Final = b"identity"
WINDOWS: Final = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}
WORTH_IT: Final = 1024
PACKED_BYTES: Final = 16 * 1024 * 1024
AT_ONCE: Final = 32 * 1024


class UnsupportedEncoding(AimassError):
    """A compressed body must be gzip or deflate."""

    code: ClassVar[str] = "unsupported_encoding"
    status: ClassVar[int] = 415


def decompressed(body: bytes, encoding: bytes, limit: int) -> bytes:
    """What a body holds.

    Raises TooLarge as soon as that is more than the limit, InvalidInput where it is not one whole stream.
    """
    encoding = encoding.strip().lower()
    if encoding == IDENTITY:
        return body
    if encoding not in WINDOWS:
        raise UnsupportedEncoding(f"bodies in {encoding.decode('latin-1')[:40]!r} are not read: send gzip or deflate")
    stream = zlib.decompressobj(WINDOWS[encoding])
    try:
        found = stream.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidInput(f"the body is not {encoding.decode()}, as Content-Encoding says") from None
    check_size(len(found), limit)
    if not stream.eof or stream.unused_data:
        raise InvalidInput(f"the body is not one whole {encoding.decode()} stream: it is cut short, or more follows")
    return found


def preferred(accepted: bytes) -> bytes:
    """The encoding that an Accept-Encoding header likes best of ours; the first of those that it likes equally."""
    best, highest = IDENTITY, 0.0
    for entry in accepted.lower().split(b","):
        name, _, parameter = entry.replace(b" ", b"").partition(b";")
        if (name in WINDOWS or name == IDENTITY) and (quality := _quality(parameter)) > highest:
            best, highest = name, quality
    return best


def _quality(parameter: bytes) -> float:
    try:
        quality = float(parameter.removeprefix(b"q=") or 1)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


async def compressed(body: Raw, encoding: bytes) -> bytes:
    """A body in an encoding, in a thread where that takes long."""
    options = (body, zlib.Z_BEST_SPEED, WINDOWS[encoding])
    return zlib.compress(*options) if len(body) <= AT_ONCE else await asyncio.to_thread(zlib.compress, *options)
