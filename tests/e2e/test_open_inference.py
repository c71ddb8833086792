"""A stock tritonclient against the gateway: JSON and binary tensors, and every refusal in its own exception."""

import numpy as np
import pytest
import tritonclient.http as client
from sklearn.datasets import load_digits
from tritonclient.utils import InferenceServerException

from tests.house import House, until

MODEL = "digits-cnn"
DIGITS = load_digits()
IMAGES = DIGITS.images[:16].astype(np.float32).reshape(-1, 1, 8, 8)


class Caller:
    """tritonclient with a key; it writes into the headers that it is given, so each call gets new ones."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.triton = client.InferenceServerClient(house.address)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._house.key}"}

    def infer(self, model: str = MODEL, binary: bool = True, **options: object) -> client.InferResult:
        name, array = str(options.pop("name", "image")), options.pop("array", IMAGES)
        datatype = str(options.pop("datatype", "FP32"))
        tensor = client.InferInput(name, list(array.shape), datatype)  # type: ignore[attr-defined]
        tensor.set_data_from_numpy(array, binary_data=binary)
        headers = options.pop("headers", self.headers)
        return self.triton.infer(model, [tensor], headers=headers, **options)


@pytest.fixture(scope="module")
def caller(house: House, champion: int) -> Caller:
    return Caller(house)


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("binary_out", [True, False, None], ids=["binary", "json", "default"])
def test_infers(caller: Caller, champion: int, binary_in: bool, binary_out: bool | None) -> None:
    outputs = None if binary_out is None else [client.InferRequestedOutput("probabilities", binary_data=binary_out)]
    result = caller.infer(binary=binary_in, outputs=outputs, request_id="mine")
    guessed = result.as_numpy("probabilities").argmax(axis=1)
    assert (guessed == DIGITS.target[:16]).mean() > 0.9
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("mine", MODEL, str(champion))
    assert response["parameters"]["prediction_id"]


@pytest.mark.parametrize("version", ["", "1"])
def test_metadata_and_health(caller: Caller, version: str) -> None:
    triton, headers = caller.triton, caller.headers
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert "binary_tensor_data" in triton.get_server_metadata(headers=headers)["extensions"]
    assert triton.is_model_ready(MODEL, version, headers=headers)
    metadata = triton.get_model_metadata(MODEL, version, headers=headers)
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert not triton.is_model_ready("nothing", headers=headers)


REFUSALS = {
    "unknown model": ({"model": "nothing"}, "404", "there is no model 'nothing'"),
    "hostile model": ({"model": "a.>.*"}, "404", "names have"),
    "unknown version": ({"model_version": "99"}, "404", "version 99"),
    "wrong name": ({"name": "picture"}, "400", "no input 'picture'"),
    "wrong type": ({"datatype": "FP64", "array": IMAGES.astype(np.float64)}, "400", "expects FP32"),
    "wrong shape": ({"array": IMAGES.reshape(-1, 8, 8)}, "400", "expects"),
    "too many": ({"array": np.zeros((65, 1, 8, 8), np.float32)}, "400", "64"),
    "no key": ({"headers": {}}, "401", "API key"),
    "wrong key": ({"headers": {"Authorization": "Bearer aim_wrong"}}, "401", "API key"),
}


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_refusals_arrive_as_the_clients_own_exception(caller: Caller, house: House, case: str, binary: bool) -> None:
    options, status, message = REFUSALS[case]
    before = house.stack.pid("triton")
    with pytest.raises(InferenceServerException, match=message) as refused:
        caller.infer(binary=binary, **options)  # type: ignore[arg-type]
    assert refused.value.status() == status
    assert house.stack.pid("triton") == before


def test_predictions_are_kept(caller: Caller, house: House, champion: int) -> None:
    prediction = caller.infer().get_response()["parameters"]["prediction_id"]
    kept = until(lambda: house.get("predictions", model=MODEL, prediction_id=prediction)["predictions"])
    assert (kept[0]["id"], kept[0]["version"], kept[0]["status"], kept[0]["batch"]) == (prediction, champion, 200, 16)
