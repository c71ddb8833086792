"""The shared memory that Triton knows, from which it reads large tensors that then need not be sent."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final

from services.inference.connections import Response
from services.inference.requests import NOWHERE, Elsewhere
from shared import observe, oip
from shared.body_pool import PREFIX, Pools
from shared.errors import AimassError

LEAST_BYTES: Final = 64 * 1024
REGISTER_SECONDS: Final = 2.0
REFUSED_SECONDS: Final = 60.0
NAME_BYTES: Final = 16
UNKNOWN: Final = b"shared memory region"
Control = Callable[[float], AbstractAsyncContextManager[Any]]


class Regions:
    """Which pools Triton was told of. One that it does not take is tried again after a while.

    It is told a secret name of each: whoever knows it and reaches Triton can have a model read there.
    """

    def __init__(self, pools: Pools, control: Control, access: dict[str, str]) -> None:
        self._pools, self._control, self._access = pools, control, access
        self._known: dict[str, str] = {}
        self._not_before: dict[str, float] = {}
        self._telling = asyncio.Lock()

    async def of(self, request: oip.InferRequest) -> Elsewhere:
        """Where large tensors of a request lie that Triton can read there.

        Never those whose content says how they are to be read: it may change when nobody waits any more.
        """
        found = {}
        for tensor in request.inputs:
            if len(tensor.data) >= LEAST_BYTES and tensor.datatype != "BYTES":
                region = self._pools.region(tensor.data)
                if region and (name := self._known.get(region.name) or await self._told(region.name)):
                    found[tensor.name] = region._replace(name=name)
        return found or NOWHERE

    def are_unknown(self, response: Response) -> bool:
        """Whether an answer says so, because Triton has started anew since."""
        if response.status == 200 or UNKNOWN not in response.body:
            return False
        self._known.clear()
        return True

    async def _told(self, file: str) -> str | None:
        async with self._telling:
            if file not in self._known and time.monotonic() >= self._not_before.get(file, 0.0):
                try:
                    await self._tell(file)
                except AimassError as error:
                    observe.log().warning("Triton does not read bodies from memory now", error=error.message)
                    self._not_before[file] = time.monotonic() + REFUSED_SECONDS
            return self._known.get(file)

    async def _tell(self, file: str) -> None:
        """Triton may know it already, since it outlives this process; it keeps what a request still reads."""
        async with self._control(REGISTER_SECONDS) as client:
            status = await client.get_system_shared_memory_status(headers=self._access)
            told = {region["key"].removeprefix("/"): region["name"] for region in status}
            if file not in told:
                told[file], size = secrets.token_hex(NAME_BYTES), self._pools.size(file)
                await client.register_system_shared_memory(told[file], f"/{file}", size, headers=self._access)
        self._known[file] = told[file]
        self._not_before.clear()
        for gone in [other for other in told if other.startswith(PREFIX) and not self._pools.size(other)]:
            self._known.pop(gone, None)
            with suppress(AimassError):
                async with self._control(REGISTER_SECONDS) as client:
                    await client.unregister_system_shared_memory(told[gone], headers=self._access)
