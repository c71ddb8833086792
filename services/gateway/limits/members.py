"""The replicas of the gateway that are there, and which of them keeps the account of an identity."""

import zlib
from collections.abc import Callable

MISSED_SECONDS = 3.5
MOST_KNOWN = 100_000


class Members:
    """Told by each replica's word once a second; while the bus is away nobody is forgotten."""

    def __init__(self, me: str, clock: Callable[[], float]) -> None:
        self.me = me
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._homes: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._heard) + 1

    def hear(self, node: str) -> bool:
        """Whether it is new."""
        if node == self.me:
            return False
        is_new = node not in self._heard
        self._heard[node] = self._clock()
        if is_new:
            self._homes.clear()
        return is_new

    def forget(self, node: str) -> None:
        if self._heard.pop(node, None) is not None:
            self._homes.clear()

    def forget_silent(self) -> None:
        before = self._clock() - MISSED_SECONDS
        for node in [node for node, heard in self._heard.items() if heard < before]:
            self.forget(node)

    def excuse(self) -> None:
        """The silence so far was the bus's."""
        now = self._clock()
        self._heard = dict.fromkeys(self._heard, now)

    def home(self, identity: str) -> str:
        """All replicas that know of the same ones say the same; one that comes or goes moves few others."""
        if not self._heard:
            return self.me
        found = self._homes.get(identity)
        if found is None:
            found = max((self.me, *self._heard), key=lambda node: zlib.crc32(f"{node} {identity}".encode()))
            if len(self._homes) >= MOST_KNOWN:
                self._homes.clear()
            self._homes[identity] = found
        return found
