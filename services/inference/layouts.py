"""Headers that were met before: tensors behind an equal JSON header lie where they lay then, so nothing is parsed."""

from itertools import accumulate, pairwise
from typing import Generic, NamedTuple, TypeVar

from shared.tensors import Raw, Tensor

LONGEST_HEADER = 2048
KEPT = 256
CHECKED_BY_CONTENT = frozenset({"BYTES", "BOOL"})
Found = TypeVar("Found")


class _Layout(NamedTuple, Generic[Found]):
    """What was found, where each tensor lies in the message, and how long that is."""

    found: Found
    places: tuple[tuple[str, str, tuple[int, ...], int, int], ...]
    size: int


class Layouts(Generic[Found]):
    """What was found in the messages with a header, and where their tensors lie; at most KEPT headers."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Layout[Found]] = {}

    def find(self, body: Raw, header_length: int | None) -> tuple[Found, tuple[Tensor, ...]] | None:
        """What was found with this header, and the tensors of this body; None where it must be parsed."""
        if header_length is None or header_length > LONGEST_HEADER:
            return None
        view = memoryview(body)
        known = self._known.get(bytes(view[:header_length]))
        if known is None or len(view) != known.size:
            return None
        places = known.places
        return known.found, tuple([Tensor(name, kind, shape, view[at:end]) for name, kind, shape, at, end in places])

    def find_alike(self, header: bytes, size: int, data: Raw, count: int) -> tuple[Found, tuple[Tensor, ...]] | None:
        """What was found with a header that some messages share, and the tensors of all, the first axis being theirs.

        `data` has `size` bytes of each, behind the header.
        """
        known = self._known.get(header)
        if known is None or size != known.size - len(header):
            return None
        parts = [
            Tensor(name, kind, (count * shape[0], *shape[1:]), _cut(data, size, at - len(header), end - len(header)))
            for name, kind, shape, at, end in known.places
        ]
        return known.found, tuple(parts)

    def keep(self, body: Raw, header_length: int | None, found: Found, tensors: tuple[Tensor, ...]) -> None:
        """Remember a message that was read, where all its tensors are binary data and need no look at each element."""
        if header_length is None or header_length > LONGEST_HEADER:
            return
        size = sum(len(tensor.data) for tensor in tensors)
        if size != len(body) - header_length or any(tensor.datatype in CHECKED_BY_CONTENT for tensor in tensors):
            return
        if len(self._known) >= KEPT:
            self._known.clear()
        bounds = pairwise(accumulate((len(tensor.data) for tensor in tensors), initial=header_length))
        places = tuple((*tensor[:3], *bound) for tensor, bound in zip(tensors, bounds, strict=True))
        self._known[bytes(memoryview(body)[:header_length])] = _Layout(found, places, len(body))


def _cut(data: Raw, size: int, begin: int, end: int) -> Raw:
    """The bytes between two places in each of so many bytes, behind each other."""
    if end - begin == size:
        return data
    return b"".join([data[at + begin : at + end] for at in range(0, len(data), size)])
