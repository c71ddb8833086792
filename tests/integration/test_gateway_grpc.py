"""The gateway over gRPC with stock clients, against a neighbour that gives every tensor back."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as blocking
import tritonclient.grpc.aio as stock
from prometheus_client import REGISTRY
from tritonclient.grpc import service_pb2 as pb

from deploy.embedded.ports import free_port
from shared import frames
from shared.bus import settle
from shared.errors import NotFound, Unavailable
from shared.permissions import Role
from shared.rpc.inference import InferenceStatistics, ModelConfiguration
from shared.tensors import from_numpy
from tests.integration.grpc_edge import (
    ARRAYS,
    BODY_LIMIT,
    MODEL,
    TRACE,
    TYPED,
    Edge,
    edge,
    mirror,
    neighbours,
    refused,
    silence,
    stub,
    tensor,
)
from tests.integration.running import until
from tests.integration.test_gateway_inference import another_process, answers

__all__ = ["edge", "neighbours", "stub"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


class TestStockClients:
    """What tritonclient.grpc and tritonclient.grpc.aio see."""

    async def test_health_and_metadata(self, edge: Edge) -> None:
        client, headers = edge.client, edge.headers
        assert await client.is_server_live() and await client.is_server_ready()
        for version in ("", "3"):
            assert await client.is_model_ready(MODEL, version, headers=headers)
            metadata = await client.get_model_metadata(MODEL, version, headers=headers)
            assert (metadata.name, list(metadata.versions)) == (MODEL, ["2", "3"])
            found = [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs]
            assert found == [("pixels", "FP32", [-1, 4])]
        assert "binary_tensor_data" in (await client.get_server_metadata(headers=headers)).extensions
        edge.gateway.neighbours.answers["get_served_model"] = NotFound("unknown")
        assert not await client.is_model_ready("nothing", headers=headers)

    async def test_configuration_and_statistics(self, edge: Edge) -> None:
        counted = {"success": {"count": 5, "ns": 7}, "queue": {"count": 5, "ns": 2**40}}
        row = {"name": MODEL, "version": "3", "inference_count": 5, "inference_stats": counted, "new_field": 1}
        config = {"name": MODEL, "max_batch_size": 64, "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}]}
        edge.gateway.neighbours.answers |= {
            "get_inference_statistics": InferenceStatistics(model_stats=[row]),
            "get_model_configuration": ModelConfiguration(config=config),
        }
        for model in ("", MODEL):
            statistics = await edge.client.get_inference_statistics(model, headers=edge.headers)
            assert statistics.model_stats[0].inference_stats.queue.ns == 2**40
            assert edge.gateway.neighbours.asked[-1].body["model"] == (model or None)
        found = (await edge.client.get_model_config(MODEL, headers=edge.headers)).config
        assert (found.max_batch_size, found.input[0].data_type, list(found.input[0].dims)) == (64, 11, [4])

    async def test_every_datatype_goes_there_and_back(self, edge: Edge) -> None:
        result = await edge.infer(*map(tensor, ARRAYS), request_id="mine", model_version="2", parameters={"a": 1})
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(result.as_numpy(f"y_{name}"), array)
        response = result.get_response()
        assert (response.id, response.model_name, response.model_version) == ("mine", MODEL, "2")
        assert response.parameters["given"].int64_param == 2

    async def test_outputs_that_are_asked_for_come_alone(self, edge: Edge) -> None:
        wanted = [stock.InferRequestedOutput(f"y_{name}") for name in ("BYTES", "INT8")]
        result = await edge.infer(*map(tensor, ARRAYS), outputs=wanted)
        assert {output.name for output in result.get_response().outputs} == {"y_BYTES", "y_INT8"}

    async def test_the_blocking_client(self, edge: Edge) -> None:
        def run() -> None:
            found: list[Any] = []
            with blocking.InferenceServerClient(edge.address) as client:
                inputs = [tensor(name) for name in ARRAYS]
                for algorithm in (None, "gzip", "deflate"):
                    result = client.infer(MODEL, inputs, headers=edge.headers, compression_algorithm=algorithm)
                    np.testing.assert_array_equal(result.as_numpy("y_BYTES"), ARRAYS["BYTES"])
                client.async_infer(
                    MODEL, inputs, lambda result, error: found.append((result, error)), headers=edge.headers
                )
                client.start_stream(lambda result, error: found.append((result, error)), headers=edge.headers)
                client.async_stream_infer(MODEL, inputs)
                client.async_stream_infer("nothing", inputs)
                client.stop_stream()
                deadline = time.monotonic() + 30
                while len(found) < 3 and time.monotonic() < deadline:
                    time.sleep(0.01)
            results = [result for result, error in found if error is None]
            np.testing.assert_array_equal(results[0].as_numpy("y_FP64"), results[1].as_numpy("y_FP64"))
            assert ["no model 'nothing'" in str(error) for _, error in found if error is not None] == [True]

        await asyncio.to_thread(run)


class TestMessages:
    """What stock clients do not send."""

    async def test_typed_contents(self, edge: Edge, stub: Any) -> None:
        request = pb.ModelInferRequest(model_name=MODEL, inputs=[typed(name) for name in TYPED])
        response = await stub.ModelInfer(request, metadata=tuple(edge.headers.items()))
        expected = [from_numpy(name, array, name).data for name, array in TYPED.items()]
        assert list(response.raw_output_contents) == expected

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda request: request.raw_input_contents.append(b"\x01"), "one way"),
            (lambda request: request.inputs.add(name="x_FP16", datatype="FP16"), "no typed contents"),
            (lambda request: request.inputs[0].contents.int_contents.append(1), "'bool_contents', not 'int_contents'"),
            (lambda request: request.parameters["a"].SetInParent(), "no value"),
            (lambda request: request.inputs.pop(), "at least one"),
        ],
    )
    async def test_what_cannot_be_read(
        self, edge: Edge, stub: Any, change: Callable[[Any], None], message: str
    ) -> None:
        edge.gateway.neighbours.infer = checked
        request = pb.ModelInferRequest(model_name=MODEL, inputs=[typed("BOOL")])
        change(request)
        with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
            await stub.ModelInfer(request, metadata=tuple(edge.headers.items()))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    async def test_what_is_not_served(self, edge: Edge, stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.RepositoryIndex(pb.RepositoryIndexRequest(), metadata=tuple(edge.headers.items()))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async def test_the_predictions_id_comes_back_with_answers_and_refusals(self, edge: Edge, stub: Any) -> None:
        metadata = (*edge.headers.items(), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"))
        call = stub.ModelInfer(pb.ModelInferRequest(model_name=MODEL, inputs=[typed("BOOL")]), metadata=metadata)
        expected = str(uuid.UUID(bytes=(await answered(call, edge)).prediction_id))
        assert dict(await call.trailing_metadata())["x-prediction-id"] == expected
        assert (await call).parameters["prediction_id"].string_param == expected
        assert (edge.last.traceparent[3:35], edge.last.credential) == (TRACE, "key-1")
        call = stub.ModelInfer(pb.ModelInferRequest(model_name=MODEL))
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        assert uuid.UUID(dict(await call.trailing_metadata())["x-prediction-id"])


def typed(datatype: str) -> Any:
    array = TYPED[datatype]
    field = {"BOOL": "bool", "BYTES": "bytes", "FP32": "fp32", "FP64": "fp64"}.get(datatype)
    field = field or datatype.lower().removesuffix("8").removesuffix("16").removesuffix("32")
    contents = pb.InferTensorContents(**{f"{field}_contents": array.ravel().tolist()})
    return pb.ModelInferRequest.InferInputTensor(
        name=f"x_{datatype}", datatype=datatype, shape=array.shape, contents=contents
    )


async def answered(call: Any, edge: Edge) -> frames.Request:
    await call
    return edge.last


async def checked(request: frames.Request) -> frames.Reply:
    try:
        return await mirror(request)
    except Exception as error:
        return frames.Reply(request.prediction_id, 400, b'{"error": "%s"}' % str(error).replace('"', "'").encode())


class TestTrouble:
    """Every refusal is the right status, and nobody waits for nothing."""

    async def test_refusals(self, edge: Edge) -> None:
        viewer = {"authorization": f"Bearer {await edge.gateway.make_key(Role.VIEWER)}"}
        await edge.gateway.becomes(viewer["authorization"].removeprefix("Bearer "), 200)
        big = tensor("FP32", np.zeros(BODY_LIMIT // 4 + 1, np.float32))
        for answer, code, message in (
            (edge.infer(headers={}), "UNAUTHENTICATED", "API key or access token is needed"),
            (edge.infer(headers={"authorization": "Bearer aim_no"}), "UNAUTHENTICATED", "unknown or revoked"),
            (edge.client.get_server_metadata(), "UNAUTHENTICATED", "API key"),
            (edge.infer(headers=viewer), "PERMISSION_DENIED", "infer"),
            (edge.infer(model="nothing"), "NOT_FOUND", "no model 'nothing'"),
            (edge.infer(model="a.>.*"), "NOT_FOUND", "names have"),
            (edge.infer(model_version="x"), "NOT_FOUND", "whole numbers"),
            (edge.infer(big), "RESOURCE_EXHAUSTED", str(BODY_LIMIT)),
        ):
            error = await refused(answer)
            assert (error.status(), message in error.message()) == (f"StatusCode.{code}", True), error

    async def test_refusals_of_inference(self, edge: Edge) -> None:
        codes = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "RESOURCE_EXHAUSTED", 429: "RESOURCE_EXHAUSTED"}
        codes |= {500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
        for status, code in codes.items():

            async def refuse(request: frames.Request, status: int = status) -> frames.Reply:
                return frames.Reply(request.prediction_id, status, b'{"error": "because \\u00e4\\n"}', retry_after=2)

            edge.gateway.neighbours.infer = refuse
            error = await refused(edge.infer())
            assert (error.status(), error.message()) == (f"StatusCode.{code}", "because ä\n")

    async def test_a_model_that_nobody_serves(self, edge: Edge) -> None:
        edge.gateway.neighbours.answers["get_model"] = Unavailable("the database is not reachable")
        assert (await refused(edge.infer(model="idle"))).status() == "StatusCode.UNAVAILABLE"

    async def test_the_deadline_travels_up_to_the_most_that_is_allowed(self, edge: Edge) -> None:
        for given, seconds in ((60, 60), (None, 10), (1000, 120)):
            before = time.time()
            await edge.infer(client_timeout=given)
            assert before + seconds - 5 < edge.last.deadline / 1000 <= time.time() + seconds + 0.1

    async def test_a_call_that_ends_early_frees_its_place(self, edge: Edge) -> None:
        edge.gateway.neighbours.infer = silence
        error = await refused(edge.infer(client_timeout=0.2))
        assert error.status() == "StatusCode.DEADLINE_EXCEEDED"
        waiting = asyncio.create_task(edge.infer())
        await until(lambda: in_flight(1), 60)
        waiting.cancel()
        await until(lambda: in_flight(0), 60)

    async def test_calls_are_counted(self, edge: Edge) -> None:
        before = counted("ModelInfer", "OK"), counted("ModelInfer", "NOT_FOUND")
        await edge.infer()
        await refused(edge.infer(model="nothing"))
        assert (counted("ModelInfer", "OK"), counted("ModelInfer", "NOT_FOUND")) == (before[0] + 1, before[1] + 1)


async def in_flight(count: int) -> bool:
    return REGISTRY.get_sample_value("aimass_predictions_in_flight") == count


def counted(method: str, status: str) -> float:
    labels = {"method": method, "status": status}
    return REGISTRY.get_sample_value("aimass_grpc_request_seconds_count", labels) or 0


class TestStreams:
    """Many requests over one call."""

    async def asked(self, count: int, **changes: Any) -> AsyncIterator[dict[str, Any]]:
        for number in range(count):
            yield {"model_name": MODEL, "inputs": [tensor("BOOL")], "request_id": str(number)} | changes

    async def test_answers_come_in_the_order_of_the_requests(self, edge: Edge) -> None:
        edge.gateway.neighbours.infer = silence
        inboxes: list[str] = []

        async def note(message: Any) -> None:
            inboxes.append(message.reply)

        async def answer_backwards() -> None:
            requests = edge.gateway.neighbours.requests
            await until(lambda: reached(requests, 20), 60)
            await until(lambda: reached(inboxes, 1), 60)
            for request in reversed(requests):
                await edge.gateway.connection.publish(inboxes[0], frames.encode_replies([await mirror(request)]))

        subscription = await edge.gateway.connection.subscribe(f"infer.default.{MODEL}", cb=note)
        await settle(edge.gateway.connection)
        answering = asyncio.create_task(answer_backwards())
        stream = edge.client.stream_infer(self.asked(20), headers=edge.headers)
        found = [result.get_response() async for result, _ in stream]
        await asyncio.gather(answering, subscription.unsubscribe())
        assert [response.id for response in found] == [str(number) for number in range(20)]
        assert all(response.parameters["triton_final_response"].bool_param for response in found)

    async def test_a_request_that_fails_fails_alone(self, edge: Edge) -> None:
        async def mixed() -> AsyncIterator[dict[str, Any]]:
            for model in ("nothing", MODEL, "a b"):
                async for request in self.asked(1, model_name=model):
                    yield request

        stream = edge.client.stream_infer(mixed(), headers=edge.headers)
        errors = [error and error.message() async for _, error in stream]
        assert ["no model" in (error or "") for error in errors] == [True, False, True]

    async def test_who_is_not_known_gets_no_stream(self, stub: Any) -> None:
        stream = stub.ModelStreamInfer()
        await stream.write(pb.ModelInferRequest(model_name=MODEL, inputs=[typed("BOOL")]))
        assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED
        assert "API key" in await stream.details()

    async def test_a_stream_that_is_given_up_frees_its_places(self, edge: Edge) -> None:
        edge.gateway.neighbours.infer = silence
        stream = edge.client.stream_infer(self.asked(3), headers=edge.headers)
        reading = asyncio.create_task(anext(aiter(stream)))
        await until(lambda: in_flight(3), 60)
        stream.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await until(lambda: in_flight(0), 60)


async def reached(found: list[Any], count: int) -> bool:
    return len(found) >= count


async def test_it_finishes_what_is_in_flight_and_ends(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    port, released = free_port(), asyncio.Event()
    monkeypatch.setenv("GATEWAY_GRPC_PORT", str(port))

    async def held(request: frames.Request) -> frames.Reply:
        await released.wait()
        return await mirror(request)

    async def lasting() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": MODEL, "inputs": [tensor("BOOL")]}
        await asyncio.Event().wait()

    async with (
        another_process(edge.gateway) as (process, url),
        stock.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        key = edge.headers["authorization"].removeprefix("Bearer ")
        listens = answers(edge.gateway.http, f"{url}/v2", key)
        await until(listens, 60)
        stream = aiter(client.stream_infer(lasting(), headers=edge.headers))
        assert (await anext(stream))[1] is None
        edge.gateway.neighbours.infer = held
        waiting = asyncio.create_task(client.infer(MODEL, [tensor("FP32")], headers=edge.headers))
        await until(lambda: reached(edge.gateway.neighbours.requests, 2), 60)
        process.send_signal(signal.SIGTERM)
        await until(lambda: refuses(listens), 60)
        released.set()
        assert (await waiting).as_numpy("y_FP32").shape == (2, 2)
        assert [answer async for answer in stream] == []
        async with asyncio.timeout(30):
            assert await process.wait() == 0


async def refuses(listens: Callable[[], Any]) -> bool:
    return not await listens()
