"""The response cache gives back what was answered to the same request, within its bytes, and nothing else."""

import time
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.inference.calls import Waiting
from services.inference.domain import Deployment
from services.inference.replies import Origin
from services.inference.response_cache import LARGEST_SHARE, ResponseCache
from shared import frames, oip
from shared.events.common import Signature
from shared.tensors import Tensor, from_numpy

MOST = 1600


def asking(value: int, *, version: int = 1, model: str = "m", outputs: tuple[str, ...] = (), flags: int = 0) -> Waiting:
    deployment = Deployment("p", model, version, "digest", Signature(), "serving")
    tensor = from_numpy("x", np.array([[value]], np.int64))
    asked = oip.InferRequest((tensor,), tuple(oip.RequestedOutput(name) for name in outputs))
    request = frames.Request(bytes(16), 0, b"", flags=flags)
    return Waiting(Origin.of("p", model, "s"), frames.asked(request), deployment, asked, None, 1, time.perf_counter())


def answer(text: str, size: int = 8) -> tuple[Tensor, ...]:
    return (Tensor("y", "UINT8", (1, size), memoryview(text.encode().ljust(size))),)


def served(cache: ResponseCache, waiting: Waiting, outputs: tuple[Tensor, ...]) -> Any:
    """What the data plane does with a request whose call would bring these outputs."""
    found = cache.find(waiting)
    if found is None:
        cache.keep(waiting, outputs)
        return outputs
    return found


steps = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 2), st.sampled_from([(), ("y",)]), st.booleans()))


@given(steps)
def test_who_asks_the_same_gets_the_same(asked: list[tuple[int, int, tuple[str, ...], bool]]) -> None:
    cache = ResponseCache(frozenset(["p/m"]), MOST)
    for value, version, outputs, forgets in asked:
        if forgets:
            cache.forget(f"p.m.{version}")
        truth = answer(f"{value} {version} {outputs}", 40)
        found = served(cache, asking(value, version=version, outputs=outputs), truth)
        assert [(one.name, bytes(one.data)) for one in found] == [(one.name, bytes(one.data)) for one in truth]
        assert cache._bytes == sum(len(one.data) for kept in cache._kept.values() for one in kept) <= MOST


def test_the_answer_used_last_stays() -> None:
    cache = ResponseCache(frozenset(["*"]), MOST)
    for value in range(MOST // 40):
        served(cache, asking(value), answer("first", 40))
    assert cache.find(asking(0)) is not None
    served(cache, asking(-1), answer("one more", 40))
    assert cache.find(asking(0)) is not None
    assert cache.find(asking(1)) is None


def test_some_are_never_kept() -> None:
    cache = ResponseCache(frozenset(["p/m"]), MOST)
    for waiting, outputs in (
        (asking(1, model="other"), answer("a")),
        (asking(1, flags=frames.EVALUATION), answer("a")),
        (asking(1), answer("large", MOST // LARGEST_SHARE + 1)),
    ):
        served(cache, waiting, outputs)
        assert cache.find(waiting) is None


def test_a_version_that_is_loaded_anew_is_asked_again() -> None:
    cache = ResponseCache(frozenset(["p/m"]), MOST)
    for version in (1, 2):
        served(cache, asking(1, version=version), answer("a"))
    cache.forget("p.m.1")
    assert cache.find(asking(1, version=1)) is None
    assert cache.find(asking(1, version=2)) is not None
