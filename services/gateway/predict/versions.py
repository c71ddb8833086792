"""Which version of a model serves, and its facts: asked once, kept for a while, so that a call costs one request."""

import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from pydantic import BaseModel

from services.gateway.predict.facts import Facts, facts_of
from shared import observe
from shared.errors import AimassError, NotFound, Unavailable
from shared.rpc.base import Request
from shared.rpc.inference import GetServedModel
from shared.rpc.registry import GetDataset, GetModel, GetVersion
from shared.sharing import Level

SERVING_SECONDS: Final = 2.0
KEPT: Final = 1024
Answer = TypeVar("Answer", bound=BaseModel)


class Asks(Protocol):
    """Who asks services in the name of a project."""

    @property
    def project(self) -> str: ...

    def at(self, name: str, level: Level = "read") -> "tuple[Asks, str]": ...

    async def ask(self, request: "Request[Answer]") -> Answer: ...


class Versions:
    """Facts of versions, which never change, and for a moment which version serves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._facts: dict[tuple[str, str, int], Facts] = {}
        self._serving: dict[tuple[str, str], tuple[int, float]] = {}

    async def find(self, caller: Asks, model: str, version: int | None = None) -> Facts:
        """The facts of a version, or of the one that serves.

        Raises NotFound for a model or version that there is not, Unavailable for a model that is not served now.
        """
        number = version or await self._number(caller, model)
        key = (caller.project, model, number)
        if (known := self._facts.get(key)) is None:
            if len(self._facts) >= KEPT:
                self._facts.clear()
            known = self._facts[key] = await self._asked(caller, model, number)
        return known

    def forget_serving(self, project: str, model: str) -> None:
        """Another version may serve now."""
        self._serving.pop((project, model), None)

    async def _number(self, caller: Asks, model: str) -> int:
        key = (caller.project, model)
        number, until = self._serving.get(key, (0, 0.0))
        if number and self._clock() < until:
            return number
        if len(self._serving) >= KEPT:
            self._serving.clear()
        number = await _serving(caller, model)
        self._serving[key] = (number, self._clock() + SERVING_SECONDS)
        return number

    async def _asked(self, caller: Asks, model: str, number: int) -> Facts:
        view = await caller.ask(GetVersion(model=model, version=number))
        if not view.dataset:
            return facts_of(view, {})
        try:
            data = await caller.ask(GetDataset(name=view.dataset, digest=view.dataset_digest or None))
        except NotFound:
            observe.log().info("data set of a version is gone: its columns have no names", model=model, version=number)
            return facts_of(view, {})
        return facts_of(view, data.facts)


async def _serving(caller: Asks, model: str) -> int:
    try:
        served = await caller.ask(GetServedModel(project=caller.project, model=model))
    except NotFound:
        raise await _why_nobody(caller, model) from None
    if served.version is None:
        raise NotFound(f"model '{model}' has no promoted version yet: name one, or promote one", field="model")
    return served.version


async def _why_nobody(caller: Asks, model: str) -> AimassError:
    """A model that inference does not know may still exist."""
    try:
        await caller.ask(GetModel(model=model))
    except NotFound:
        return NotFound(f"there is no model '{model}'", field="model")
    return Unavailable(f"model '{model}' is not served now; try again")
