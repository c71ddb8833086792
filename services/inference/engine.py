"""Triton as the inference service sees it: control through tritonclient, inference over lean connections.

Models are loaded over gRPC: over HTTP a load would stop every answer until it is done, see docs/decisions/0018.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from tritonclient.grpc.aio import InferenceServerClient as LoadingClient
from tritonclient.http.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from services.inference.answers import Answers, Crashed, public
from services.inference.connections import Pool, Response
from services.inference.numbers import Numbers, with_numbers
from services.inference.regions import Regions
from services.inference.requests import message
from shared import observe, oip
from shared.body_pool import Pools
from shared.errors import DeadlineExceeded, ModelFailed, Unavailable
from shared.events.common import Signature
from shared.tensors import Tensor

CONNECTIONS: Final = 64
MAX_REPLY_BYTES: Final = 256 * 1024 * 1024
CONTROL_SECONDS: Final = 5.0
LOAD_SECONDS: Final = 120.0
UNLOAD_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.05
DIRECTLY: Final = [("grpc.enable_http_proxy", 0)]
GONE: Final = ("StatusCode.UNAVAILABLE", "StatusCode.CANCELLED")


class Overdue(DeadlineExceeded):
    """The model did not answer in time; `rest` ends when it does, or with Crashed where its process is given up."""

    def __init__(self, message: str, rest: "asyncio.Task[oip.InferReply]") -> None:
        super().__init__(message)
        self.rest = rest


class Triton:
    """One Triton server, over HTTP and at `grpc`, a host and port.

    `access_header` is the name and value that open its repository API; `numbered` says that models give back the
    numbers of rows, as those of its Python backend do; one older than the version `least` gets no models.
    """

    def __init__(
        self,
        url: str,
        grpc: str,
        access_header: tuple[str, str],
        connections: int = CONNECTIONS,
        numbered: bool = True,
        least: str = "0",
        pools: Pools | None = None,
    ) -> None:
        self._least = least
        address = urlsplit(url)
        self._host, self._grpc = address.netloc, grpc
        self._access = dict([access_header])
        self._loading_access = {f"triton-grpc-protocol-{access_header[0]}": access_header[1]}
        self._pool = Pool(address.hostname or "", address.port or 80, connections, MAX_REPLY_BYTES)
        self._controlling: InferenceServerClient | None = None
        self._crashed: set[str] = set()
        self._loads: Counter[str] = Counter()
        self._answers = Answers()
        self._numbers = Numbers() if numbered else None
        self._resting: set[asyncio.Task[oip.InferReply]] = set()
        self._regions = Regions(pools or Pools(), self._control, self._access)

    async def close(self) -> None:
        """Close every connection; calls in flight fail as Unavailable."""
        self._pool.close()
        if self._controlling is not None:
            await self._controlling.close()

    async def infer(self, name: str, request: oip.InferRequest, signature: Signature, timeout: float) -> oip.InferReply:
        """Ask a loaded version; the request must fit the signature, and the reply is checked against it.

        One whose process has crashed is not asked before it is loaded again: its answers may be anyone's.

        Raises Unavailable, DeadlineExceeded, InvalidInput or ModelFailed.
        """
        if self.has_crashed(name):
            raise Crashed()
        numbers = self._numbers.take(request, signature) if self._numbers else None
        sent = with_numbers(request, numbers) if numbers else request
        read = partial(self._read, name, self._loads[name], request, numbers, signature)
        told, answer = f"the model did not answer within {timeout:.3g} s", None
        try:
            async with asyncio.timeout(timeout):
                regions = await self._regions.of(sent)
                answer = await self._pool.send(message(self._host, name, sent, signature, regions))
                response = await asyncio.shield(answer)
                if regions and self._regions.are_unknown(response):
                    answer = await self._pool.send(message(self._host, name, sent, signature))
                    response = await asyncio.shield(answer)
        except TimeoutError:
            if answer is None:
                raise DeadlineExceeded(told) from None
            raise Overdue(told, self._rest(answer, read)) from None
        except asyncio.CancelledError:
            if answer is not None:
                answer.cancel()
            raise
        return read(response)

    def _rest(
        self, answer: "asyncio.Future[Response]", read: Callable[[Response], oip.InferReply]
    ) -> "asyncio.Task[oip.InferReply]":
        async def wait() -> oip.InferReply:
            return read(await answer)

        rest = asyncio.create_task(wait())
        self._resting.add(rest)
        rest.add_done_callback(self._forget)
        return rest

    def _forget(self, rest: "asyncio.Task[oip.InferReply]") -> None:
        self._resting.discard(rest)
        if not rest.cancelled():
            rest.exception()  # nobody need hear of it

    def _read(
        self,
        name: str,
        loads: int,
        request: oip.InferRequest,
        numbers: Tensor | None,
        signature: Signature,
        response: Response,
    ) -> oip.InferReply:
        """The answer to a request, from what has come since a version was loaded so many times."""
        try:
            return self._answers.read(name, request, numbers, signature, response)
        except Crashed as error:
            observe.log().error("a model's process is not to be asked", model=name, reason=error.message)
            if loads != self._loads[name]:
                raise Unavailable("the model was loaded again meanwhile; try again") from error
            self._crashed.add(name)
            raise

    async def is_ready(self) -> bool:
        """Whether the server answers and is ready; says nothing of models."""
        try:
            async with self._control(CONTROL_SECONDS) as client:
                return bool(await client.is_server_ready())
        except Unavailable:
            return False

    async def problem(self) -> str:
        """Why nothing is loaded into it; empty where it is ready and no older than it must be."""
        try:
            async with self._control(CONTROL_SECONDS) as client:
                if not await client.is_server_ready():
                    return "Triton is not ready"
                version = str((await client.get_server_metadata())["version"])
        except Unavailable:
            return "Triton is not reachable"
        if _numbers(version) < _numbers(self._least):
            return f"Triton {version} is older than {self._least} (INFERENCE_TRITON_LEAST): bring a newer one"
        return ""

    async def wait_ready(self, timeout: float) -> None:
        """Return when the server is ready; raises DeadlineExceeded."""
        try:
            async with asyncio.timeout(timeout):
                while not await self.is_ready():
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise DeadlineExceeded(f"Triton was not ready within {timeout:.3g} s") from None

    async def states(self) -> dict[str, str]:
        """The state of every model that Triton has met: READY, LOADING, UNLOADING or UNAVAILABLE."""
        async with self._control(CONTROL_SECONDS) as client:
            index: list[dict[str, str]] = await client.get_model_repository_index(headers=self._access)
        return {entry["name"]: entry["state"] for entry in index if "state" in entry}

    async def ready_models(self) -> set[str]:
        """The models that can answer; Triton goes on to call a model ready whose process has crashed."""
        return {name for name, state in (await self.states()).items() if state == "READY"} - self._crashed

    async def statistics(self) -> list[dict[str, Any]]:
        """What Triton has counted for every model that is loaded."""
        async with self._control(CONTROL_SECONDS) as client:
            found: dict[str, list[dict[str, Any]]] = await client.get_inference_statistics()
        return found["model_stats"]

    async def configuration(self, name: str) -> dict[str, Any]:
        """The configuration of a loaded version, with all that Triton fills in."""
        async with self._control(CONTROL_SECONDS) as client:
            found: dict[str, Any] = await client.get_model_config(name)
        return found

    def suspect(self, name: str) -> None:
        """Count a version as crashed until it is loaded again: its process hangs."""
        self._crashed.add(name)

    def has_crashed(self, name: str) -> bool:
        """Whether a version is not asked before it is loaded again."""
        return name in self._crashed

    async def load(self, name: str, timeout: float = LOAD_SECONDS) -> None:
        """Load a version and return when it is ready; raises ModelFailed, or Unavailable for an old Triton."""
        if problem := await self.problem():
            raise Unavailable(f"nothing is loaded: {problem}")
        async with self._loading(timeout) as client:
            await client.load_model(name, headers=self._loading_access)
        self._loads[name] += 1
        self._crashed.discard(name)
        self._answers.forget(name)

    async def unload(self, name: str, timeout: float = LOAD_SECONDS) -> None:
        """Unload a version and return when its last request is answered and its process is gone.

        Triton never ends with a process that has crashed and was asked since; loaded anew, it does.
        """
        self._answers.forget(name)
        async with self._loading(timeout) as client:
            await client.unload_model(name, headers=self._loading_access)
            if not await self._is_gone(name, UNLOAD_SECONDS):
                await client.load_model(name, headers=self._loading_access)
                await client.unload_model(name, headers=self._loading_access)
                await self._is_gone(name, None)

    async def _is_gone(self, name: str, seconds: float | None) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (await self.states()).get(name, "UNAVAILABLE") != "UNAVAILABLE":
                    await asyncio.sleep(POLL_SECONDS)
                return True
        return False

    @asynccontextmanager
    async def _control(self, timeout: float) -> AsyncIterator[Any]:
        """A control client within a deadline, its failures as errors of ours."""
        if self._controlling is None:
            self._controlling = InferenceServerClient(self._host, conn_timeout=None)
        async with _told(timeout):
            yield self._controlling

    @asynccontextmanager
    async def _loading(self, timeout: float) -> AsyncIterator[Any]:
        """A client that loads and unloads, likewise."""
        async with _told(timeout), LoadingClient(self._grpc, channel_args=DIRECTLY) as client:
            yield client


@asynccontextmanager
async def _told(timeout: float) -> AsyncIterator[None]:
    """Work with Triton within a deadline, its failures as errors of ours."""
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError:
        raise Unavailable(f"Triton did not answer within {timeout:.3g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable("Triton is not reachable") from error
    except InferenceServerException as error:
        if error.status() in GONE:
            raise Unavailable("Triton is not reachable") from error
        raise ModelFailed(public(error.message() or "")) from error


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
