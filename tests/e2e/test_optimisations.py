"""A version is optimised on a whole stack: evaluated like any other, promoted only after that, traced to its origin."""

from typing import Any

import numpy as np
import pytest
from aimass import Client
from aimass.errors import ApiError

import library
from library.base import Part
from tests.e2e.test_members import evaluated
from tests.house import House
from tests.integration.onnx_models import affine

MODEL = "digits-cnn"


@pytest.fixture
def client(house: House) -> Client:
    return Client(house.stack.info["gateway"], house.key)


def ended(client: Client, accepted: Any) -> dict[str, Any]:
    *_, last = client.watch(accepted["id"])
    return dict(last)


def test_an_optimised_version_is_evaluated_and_waits_for_a_person(house: House, client: Client, champion: int) -> None:
    accepted = client.optimise(MODEL, champion, "int8-static", rows=64)
    number, evaluation = evaluated(house, MODEL, accepted["id"])
    task = client.task(accepted["id"])
    assert (task["kind"], task["parameters"]["version"], task["parameters"]["rows"]) == ("optimise", champion, 64)
    origin, version = client.version(MODEL, champion), client.version(MODEL, number)
    assert (version["derived_from"], version["source"]) == (champion, "optimisation")
    assert version["parameters"]["method"] == "int8-static"
    assert version["metrics"]["bytes"] < 0.5 * version["metrics"]["bytes_before"]
    assert (version["dataset_digest"], version["gate"]) == (origin["dataset_digest"], origin["gate"])
    assert evaluation["champion_version"] == champion
    assert evaluation["metrics"]["accuracy"] > 0.95
    assert evaluation["baseline_metrics"]["accuracy"] > 0.8
    assert client.model(MODEL)["aliases"]["champion"] == champion
    dataset = library.data_set("digits").parts()[Part.TEST]
    images = {"image": dataset["image"][:16]}
    one, other = (client.predict(MODEL, images, version=found) for found in (champion, number))
    assert 0 < np.abs(one["probabilities"] - other["probabilities"]).max() < 0.2


def test_it_is_promoted_by_itself_only_where_its_gate_passes(house: House, client: Client, champion: int) -> None:
    ruined = client.optimise(MODEL, champion, "prune-channels", share=0.9, auto_promote=True)
    number, evaluation = evaluated(house, MODEL, ruined["id"])
    assert not evaluation["passed"]
    assert client.model(MODEL)["aliases"]["champion"] == champion
    with pytest.raises(ApiError, match="did not pass its evaluation"):
        client.promote(MODEL, number)
    kept = client.optimise(MODEL, champion, "graph", auto_promote=True)
    try:
        assert house.wait_served(kept["id"])["version"] > number
    finally:
        client.promote(MODEL, champion)


def test_what_cannot_be_optimised_is_refused(house: House, client: Client, champion: int, tmp_path: Any) -> None:
    with pytest.raises(ApiError, match="has no version 99"):
        client.optimise(MODEL, 99, "graph")
    with pytest.raises(ApiError, match="int8-static") as wrong:
        client.optimise(MODEL, champion, "int4")
    assert wrong.value.status == 422
    with pytest.raises(ApiError, match="rows") as few:
        client.optimise(MODEL, champion, "int8-static", rows=0)
    assert few.value.status == 422
    file = tmp_path / "affine.onnx"
    file.write_bytes(affine().onnx)
    brought = client.upload("brought-affine", file)["version"]
    with pytest.raises(ApiError, match="needs rows to take ranges from") as no_rows:
        client.optimise("brought-affine", brought, "int8-static")
    assert no_rows.value.status == 422
    task = ended(client, client.optimise("brought-affine", brought, "prune-channels"))
    assert (task["state"], task["error_class"]) == ("failed", "NotOptimised")
    assert "no channels can be taken out" in task["error_message"]
    made = ended(client, client.optimise("brought-affine", brought, "int8-dynamic"))
    assert made["state"] == "succeeded", made
