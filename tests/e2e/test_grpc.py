"""A stock tritonclient over gRPC against the whole stack: the answers, the log and the traces of HTTP."""

import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as client

from tests.e2e.test_open_inference import IMAGES, MODEL, Caller
from tests.e2e.test_traces import spans
from tests.house import House, until


@pytest.fixture(scope="module")
def triton(house: House, champion: int) -> Iterator[client.InferenceServerClient]:
    with client.InferenceServerClient(house.stack.info["gateway_grpc"]) as found:
        yield found


@pytest.fixture(scope="module")
def headers(house: House) -> dict[str, str]:
    return {"authorization": f"Bearer {house.key}"}


def infer(triton: client.InferenceServerClient, headers: dict[str, str], model: str = MODEL, **options: Any) -> Any:
    image = client.InferInput("image", list(IMAGES.shape), "FP32")
    image.set_data_from_numpy(IMAGES)
    return triton.infer(model, [image], request_id="mine", headers=headers, **options)


def test_it_answers_as_triton_and_as_over_http(
    triton: client.InferenceServerClient, headers: dict[str, str], house: House, champion: int
) -> None:
    with client.InferenceServerClient(house.stack.info["triton"]["grpc"]) as direct:
        expected = infer(direct, {}, f"default.{MODEL}.{champion}")
    result = infer(triton, headers)
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("mine", MODEL, str(champion))
    assert response.outputs == expected.get_response().outputs
    for other in (expected, Caller(house).infer()):
        found = result.as_numpy("probabilities")
        np.testing.assert_allclose(found, other.as_numpy("probabilities"), rtol=1e-6, atol=1e-6)


def test_classes_instead_of_numbers(triton: client.InferenceServerClient, headers: dict[str, str]) -> None:
    best = [client.InferRequestedOutput("probabilities", class_count=2)]
    found = infer(triton, headers, outputs=best).as_numpy("probabilities")
    assert found.shape == (len(IMAGES), 2)
    likeliest = infer(triton, headers).as_numpy("probabilities").argmax(axis=1)
    assert [int(row[0].split(b":")[1]) for row in found] == likeliest.tolist()


def test_metadata_configuration_and_statistics(
    triton: client.InferenceServerClient, headers: dict[str, str], champion: int
) -> None:
    assert triton.is_server_ready() and triton.is_model_ready(MODEL, headers=headers)
    metadata = triton.get_model_metadata(MODEL, headers=headers)
    assert [(each.name, list(each.shape)) for each in metadata.inputs] == [("image", [-1, 1, 8, 8])]
    config = triton.get_model_config(MODEL, headers=headers).config
    assert (config.name, config.input[0].name, config.input[0].data_type) == (MODEL, "image", 11)
    (row,) = triton.get_inference_statistics(MODEL, headers=headers).model_stats
    assert (row.name, row.version) == (MODEL, str(champion))
    assert row.inference_stats.success.count > 0 and row.inference_stats.success.ns > 0


def test_a_prediction_is_kept_and_traced(
    triton: client.InferenceServerClient, headers: dict[str, str], house: House
) -> None:
    trace = secrets.token_hex(16)
    traced = headers | {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    prediction = infer(triton, traced).get_response().parameters["prediction_id"].string_param
    kept = until(lambda: house.get("predictions", model=MODEL, prediction_id=prediction)["predictions"], 60)
    assert (kept[0]["status"], kept[0]["batch"], kept[0]["trace_id"]) == (200, len(IMAGES), trace)
    until(lambda: {"gateway", "inference"} <= spans(house, trace).keys(), 60, "the spans to be written")
    assert spans(house, trace)["gateway"][0]["name"] == "inference.GRPCInferenceService/ModelInfer"
