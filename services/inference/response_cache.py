"""Answers kept for requests that ask the same, of models whose setting says that equal inputs give equal outputs."""

import hashlib
from collections import OrderedDict
from collections.abc import Set

from prometheus_client import Gauge

from services.inference.calls import Outputs, Waiting
from services.inference.replies import Origin
from shared import frames, oip
from shared.tally import Counts

EVERY = "*"
LARGEST_SHARE = 8
HITS = Counts("aimass_response_cache_hits_total", "Requests answered from the response cache", ["project", "model"])
MISSES = Counts("aimass_response_cache_misses_total", "Requests that the cache had no answer to", ["project", "model"])
BYTES = Gauge("aimass_response_cache_bytes", "What the answers in the response cache take")


class ResponseCache:
    """The answers that were used last, of the models named `project/model`, within a number of bytes."""

    def __init__(self, models: Set[str], most_bytes: int) -> None:
        self._models, self._most_bytes = models, most_bytes
        self._kept: OrderedDict[tuple[str, bytes], Outputs] = OrderedDict()
        self._bytes = 0

    def takes(self, origin: Origin, requests: frames.Asked) -> bool:
        """Whether an answer may be found here; an evaluation measures the model, not the cache."""
        if not self._models or requests.flags & frames.EVALUATION:
            return False
        return EVERY in self._models or "/".join(origin[:2]) in self._models

    def find(self, waiting: Waiting) -> Outputs | None:
        """The answer to an equal request to the same version. Marks a request without one, so that `keep` knows it."""
        if not self.takes(waiting.origin, waiting.requests):
            return None
        key = (waiting.deployment.name, _digest(waiting.asked))
        found = self._kept.get(key)
        if found is None:
            MISSES.add(waiting.origin[:2])
            waiting.cache_key = key
        else:
            HITS.add(waiting.origin[:2])
            self._kept.move_to_end(key)
        return found

    def keep(self, waiting: Waiting, outputs: Outputs) -> None:
        """Keep the answer to a request that `find` has marked, unless it would push out too many others."""
        key = waiting.cache_key
        if key is None or key in self._kept or _size(outputs) > self._most_bytes // LARGEST_SHARE:
            return
        self._kept[key] = tuple(output._replace(data=bytes(output.data)) for output in outputs)
        self._bytes += _size(outputs)
        while self._bytes > self._most_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        BYTES.set(self._bytes)

    def forget(self, name: str) -> None:
        """A version is loaded anew, or gone."""
        for key in [key for key in self._kept if key[0] == name]:
            self._bytes -= _size(self._kept.pop(key))
        BYTES.set(self._bytes)


def _size(outputs: Outputs) -> int:
    return sum(len(output.data) for output in outputs)


def _digest(asked: oip.InferRequest) -> bytes:
    """Of all that reaches the model."""
    wanted = [output.name for output in asked.outputs]
    layout = [(tensor.name, tensor.datatype, tensor.shape, len(tensor.data)) for tensor in asked.inputs]
    found = hashlib.blake2b(repr((wanted, layout)).encode(), digest_size=32)
    for tensor in asked.inputs:
        found.update(tensor.data)
    return found.digest()
