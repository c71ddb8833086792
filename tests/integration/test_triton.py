"""The path from a signature and an ONNX file to answers, on a real Triton."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import onnxruntime
import psutil
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from deploy.embedded.testing_servers import TritonServer, triton_server
from services.inference.engine import Triton
from services.inference.repository import Repository
from shared.errors import AimassError, DeadlineExceeded, InvalidInput, ModelFailed, Unavailable
from shared.events.common import Signature, TensorSpec
from shared.oip import InferRequest, RequestedOutput
from shared.tensors import DTYPES, from_numpy, to_numpy
from tests.freezing import freeze, thaw
from tests.integration import onnx_models
from tests.integration.onnx_models import Served

SECONDS = 60.0
AFFINE = "default.affine.1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with triton_server(tmp_path_factory.mktemp("triton")) as running:
        yield running


@pytest_asyncio.fixture
async def triton(server: TritonServer) -> AsyncIterator[Triton]:
    engine = Triton(server.http, server.grpc, server.access_header)
    yield engine
    await engine.close()


@pytest.fixture(scope="module")
def repository(server: TritonServer) -> Repository:
    found = Repository(server.repository)
    found.prepare()
    return found


@pytest.fixture
def serve(triton: Triton, repository: Repository) -> Callable[..., Any]:
    async def serve(name: str, model: Served) -> Served:
        repository.write(name, model.signature, model.onnx, model.digest)
        if name not in await triton.ready_models():
            await triton.load(name)
        return model

    return serve


@pytest_asyncio.fixture
async def affine(serve: Callable[..., Any]) -> Served:
    served: Served = await serve(AFFINE, onnx_models.affine())
    return served


def rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def expected(model: Served, **feeds: NDArray[Any]) -> NDArray[Any]:
    session = onnxruntime.InferenceSession(model.onnx, providers=["CPUExecutionProvider"])
    result: NDArray[Any] = session.run(None, feeds)[0]
    return result


async def ask(triton: Triton, name: str, model: Served, **feeds: NDArray[Any]) -> NDArray[Any]:
    request = InferRequest(tuple(from_numpy(key, array) for key, array in feeds.items()))
    reply = await triton.infer(name, request, model.signature, SECONDS)
    return to_numpy(reply.outputs[0])


def stub_of(server: TritonServer, name: str) -> psutil.Process:
    """The process in which Triton runs a model."""
    stubs = psutil.Process(server.pid).children(recursive=True)
    living = (stub for stub in stubs if stub.status() != psutil.STATUS_ZOMBIE)
    return next(stub for stub in living if any(name in part for part in stub.cmdline()))


class TestAnswers:
    @pytest.mark.parametrize("count", [1, 2, 7, 64])
    async def test_equal_those_of_onnxruntime(self, triton: Triton, affine: Served, count: int) -> None:
        x = rows(count)
        np.testing.assert_allclose(await ask(triton, AFFINE, affine, x=x), expected(affine, x=x), rtol=1e-6)

    async def test_keep_every_datatype(self, triton: Triton, serve: Callable[..., Any]) -> None:
        model = await serve("default.mirror.1", onnx_models.mirror())
        values = {name: np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype) for name, dtype in DTYPES.items()}
        values["BYTES"] = np.array([[b"", b"a"], ["ä".encode(), b"\n"], [b"1", b"2"]], object)
        request = InferRequest(tuple(from_numpy(f"x_{name}", array) for name, array in values.items()))
        reply = await triton.infer("default.mirror.1", request, model.signature, SECONDS)
        assert {tensor.name: tensor.datatype for tensor in reply.outputs} == {f"y_{n}": n for n in values}
        for tensor in reply.outputs:
            np.testing.assert_array_equal(to_numpy(tensor), values[tensor.datatype])

    async def test_hold_only_the_outputs_asked_for(self, triton: Triton, serve: Callable[..., Any]) -> None:
        model = await serve("default.mirror.1", onnx_models.mirror())
        values = {name: np.zeros((1, 2), dtype) for name, dtype in DTYPES.items()}
        values["BYTES"] = np.array([[b"a", b"b"]], object)
        inputs = tuple(from_numpy(f"x_{name}", array) for name, array in values.items())
        request = InferRequest(inputs, (RequestedOutput("y_INT8"), RequestedOutput("y_BYTES")))
        reply = await triton.infer("default.mirror.1", request, model.signature, SECONDS)
        assert {tensor.name for tensor in reply.outputs} == {"y_INT8", "y_BYTES"}

    async def test_of_a_model_whose_rows_are_scalars(self, triton: Triton, serve: Callable[..., Any]) -> None:
        model = await serve("default.scalars.1", onnx_models.doubled(-1))
        x = np.array([1, 2, 3], np.float32)
        np.testing.assert_array_equal(await ask(triton, "default.scalars.1", model, x=x), 2 * x)

    async def test_of_a_model_without_a_batch_axis(self, triton: Triton, serve: Callable[..., Any]) -> None:
        model = await serve("default.fixed.1", onnx_models.doubled(2, 3))
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        np.testing.assert_array_equal(await ask(triton, "default.fixed.1", model, x=x), 2 * x)

    async def test_reach_their_own_caller_at_concurrency_32(self, triton: Triton, affine: Served) -> None:
        session = onnxruntime.InferenceSession(affine.onnx, providers=["CPUExecutionProvider"])

        async def caller(seed: int) -> None:
            for turn in range(10):
                x = rows(1 + (seed + turn) % 5, seed * 100 + turn)
                y = await ask(triton, AFFINE, affine, x=x)
                np.testing.assert_allclose(y, session.run(None, {"x": x})[0], rtol=1e-5, atol=1e-6)

        await asyncio.gather(*map(caller, range(32)))


class TestFailures:
    async def test_a_bad_request_fails_alone(self, triton: Triton, serve: Callable[..., Any]) -> None:
        model = await serve("default.lookup.1", onnx_models.lookup())

        async def caller(index: int) -> float:
            answer = await ask(triton, "default.lookup.1", model, index=np.array([[index]], np.int64))
            return float(answer.item())

        answers = await asyncio.gather(*map(caller, range(14)), return_exceptions=True)
        assert answers[:10] == [10.0 * index for index in range(10)]
        for error in answers[10:]:
            assert isinstance(error, InvalidInput | ModelFailed)
            assert "could not compute" in error.message
            assert "/" not in error.message

    async def test_an_unknown_model_is_unavailable(self, triton: Triton) -> None:
        model = onnx_models.affine()
        with pytest.raises(Unavailable, match="not loaded"):
            await ask(triton, "default.absent.1", model, x=rows(1))

    async def test_a_file_that_is_no_model_does_not_load(self, triton: Triton, serve: Callable[..., Any]) -> None:
        with pytest.raises(ModelFailed, match="Protobuf parsing failed") as caught:
            await serve("default.broken.1", Served(b"junk", onnx_models.affine().signature))
        assert "/" not in caught.value.message
        assert (await triton.states())["default.broken.1"] == "UNAVAILABLE"

    async def test_a_version_that_was_never_written_does_not_load(self, triton: Triton) -> None:
        with pytest.raises(ModelFailed, match="failed to load"):
            await triton.load("default.absent.1")

    async def test_an_answer_beside_its_signature_is_refused(self, triton: Triton, serve: Callable[..., Any]) -> None:
        honest = onnx_models.affine()
        wide = TensorSpec(name="y", datatype="FP32", shape=(-1, 5))
        liar = Served(honest.onnx, Signature(inputs=honest.signature.inputs, outputs=(wide,)))
        await serve("default.liar.1", liar)
        with pytest.raises(ModelFailed, match=r"output 'y' of the model is FP32 \[2, 3\]"):
            await ask(triton, "default.liar.1", liar, x=rows(2))

    async def test_hostile_tensors_do_not_reach_the_process(
        self, server: TritonServer, triton: Triton, affine: Served
    ) -> None:
        pid = server.pid
        for array in (rows(65), rows(1)[:, :3], rows(1).astype(np.float64)):
            with pytest.raises(AimassError):
                await ask(triton, AFFINE, affine, x=array)
        assert server.pid == pid
        assert (await ask(triton, AFFINE, affine, x=rows(1))).shape == (1, 3)


class TestCancellation:
    async def test_a_cancelled_call_leaves_no_answer_behind(
        self, server: TritonServer, affine: Served, serve: Callable[..., Any]
    ) -> None:
        model = await serve("default.slow.1", onnx_models.slow())
        triton = Triton(server.http, server.grpc, server.access_header, connections=1)
        try:
            for turn in range(3):
                call = asyncio.ensure_future(ask(triton, "default.slow.1", model, x=np.ones((1, 1), np.float32)))
                await asyncio.sleep(0.02 * turn)
                call.cancel()
                await asyncio.wait([call])
                x = rows(1, turn)
                y = await ask(triton, AFFINE, affine, x=x)
                np.testing.assert_allclose(y, expected(affine, x=x), rtol=1e-5, atol=1e-6)
        finally:
            await triton.close()

    async def test_a_frozen_server_ends_in_a_deadline_and_heals(
        self, server: TritonServer, triton: Triton, affine: Served
    ) -> None:
        request = InferRequest((from_numpy("x", rows(1)),))
        freeze(server.pid)
        try:
            with pytest.raises(DeadlineExceeded):
                await triton.infer(AFFINE, request, affine.signature, 0.2)
        finally:
            thaw(server.pid)
        assert (await ask(triton, AFFINE, affine, x=rows(2))).shape == (2, 3)


class TestControl:
    async def test_models_come_and_go(self, triton: Triton, repository: Repository, serve: Callable[..., Any]) -> None:
        name = "default.passing.1"
        model = await serve(name, onnx_models.doubled(-1, 2))
        assert name in await triton.ready_models()
        assert name in repository.names()
        await triton.unload(name)
        assert name not in await triton.ready_models()
        with pytest.raises(Unavailable):
            await ask(triton, name, model, x=np.ones((1, 2), np.float32))
        repository.remove(name)
        assert name not in repository.names()

    async def test_a_replaced_version_serves_its_new_content(self, triton: Triton, serve: Callable[..., Any]) -> None:
        x = np.ones((1, 4), np.float32)
        await serve("default.twice.1", onnx_models.doubled(-1, 4))
        await triton.unload("default.twice.1")
        model = await serve("default.twice.1", onnx_models.affine())
        np.testing.assert_allclose(await ask(triton, "default.twice.1", model, x=x), expected(model, x=x), rtol=1e-6)

    async def test_a_version_that_loads_stops_no_answer_of_another(
        self, triton: Triton, repository: Repository, affine: Served
    ) -> None:
        model, answered = onnx_models.doubled(-1, 2), 0
        await ask(triton, AFFINE, affine, x=rows(1))
        repository.write("default.late.1", model.signature, model.onnx, model.digest)
        loading = asyncio.create_task(triton.load("default.late.1"))
        while not loading.done():
            await ask(triton, AFFINE, affine, x=rows(1))
            answered += not loading.done()
        await loading
        assert answered > 20

    async def test_the_repository_api_is_closed_without_the_header(self, server: TritonServer) -> None:
        stranger = Triton(server.http, server.grpc, ("aimass-access", "guess"))
        with pytest.raises(ModelFailed, match="restricted"):
            await stranger.states()
        await stranger.close()

    async def test_one_that_is_too_old_gets_no_models(self, server: TritonServer, affine: Served) -> None:
        demanding = Triton(server.http, server.grpc, server.access_header, least="2.52")
        assert "older than 2.52" in await demanding.problem()
        with pytest.raises(Unavailable, match="older than 2.52"):
            await demanding.load(AFFINE)
        await demanding.close()

    async def test_unloading_what_is_not_loaded_is_no_error(self, triton: Triton) -> None:
        await triton.unload("default.absent.1")


class TestCrashes:
    async def test_kill_9_is_unavailable_until_started_and_loaded_again(
        self, server: TritonServer, triton: Triton, affine: Served
    ) -> None:
        x = rows(1)
        await ask(triton, AFFINE, affine, x=x)
        server.kill()
        for _ in range(2):
            with pytest.raises(Unavailable):
                await ask(triton, AFFINE, affine, x=x)
        assert not await triton.is_ready()
        with pytest.raises(Unavailable):
            await triton.states()
        with pytest.raises(DeadlineExceeded):
            await triton.wait_ready(0.1)
        server.start()
        await triton.wait_ready(SECONDS)
        assert await triton.ready_models() == set()
        await triton.load(AFFINE)
        np.testing.assert_allclose(await ask(triton, AFFINE, affine, x=x), expected(affine, x=x), rtol=1e-6)

    async def test_calls_in_flight_fail_as_unavailable(
        self, server: TritonServer, triton: Triton, serve: Callable[..., Any]
    ) -> None:
        model = await serve("default.slow.1", onnx_models.slow())
        one = np.ones((1, 1), np.float32)
        calls = [asyncio.ensure_future(ask(triton, "default.slow.1", model, x=one)) for _ in range(4)]
        await asyncio.sleep(0.05)
        server.kill()
        assert {type(error) for error in await asyncio.gather(*calls, return_exceptions=True)} == {Unavailable}
        server.start()
        await triton.load("default.slow.1")
        assert await ask(triton, "default.slow.1", model, x=one) == 1

    async def test_a_killed_stub_hurts_no_other_model_and_heals_by_a_load(
        self, server: TritonServer, triton: Triton, affine: Served, serve: Callable[..., Any]
    ) -> None:
        name = "default.mine.1"
        model = await serve(name, onnx_models.doubled(-1, 2))
        x = np.ones((1, 2), np.float32)
        stub_of(server, name).kill()
        assert (await ask(triton, AFFINE, affine, x=rows(1))).shape == (1, 3)
        assert name in await triton.ready_models()
        with pytest.raises(Unavailable, match="has crashed"):
            await ask(triton, name, model, x=x)
        assert name not in await triton.ready_models()
        await triton.load(name)
        assert name in await triton.ready_models()
        np.testing.assert_array_equal(await ask(triton, name, model, x=x), 2 * x)

    async def test_a_version_whose_process_has_crashed_is_unloaded(
        self, server: TritonServer, triton: Triton, affine: Served
    ) -> None:
        stub_of(server, AFFINE).kill()
        with pytest.raises(Unavailable):
            await ask(triton, AFFINE, affine, x=rows(1))
        await triton.unload(AFFINE)
        assert AFFINE not in await triton.ready_models()
        await triton.load(AFFINE)
        await ask(triton, AFFINE, affine, x=rows(1))

    async def test_others_answer_while_the_process_of_one_hangs(
        self, server: TritonServer, triton: Triton, affine: Served, serve: Callable[..., Any]
    ) -> None:
        """Its own callers get a deadline, and it answers again once it goes on."""
        name, x = "default.hangs.1", np.ones((1, 2), np.float32)
        model = await serve(name, onnx_models.doubled(-1, 2))
        stub = stub_of(server, name).pid
        freeze(stub)
        try:
            hanging = asyncio.ensure_future(ask(triton, name, model, x=x))
            for _ in range(10):
                assert (await ask(triton, AFFINE, affine, x=rows(1))).shape == (1, 3)
            assert not hanging.done()
        finally:
            thaw(stub)
        np.testing.assert_array_equal(await hanging, 2 * x)
