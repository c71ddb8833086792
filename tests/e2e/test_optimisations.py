"""A version is optimised on a whole stack: evaluated like any other, promoted only after that, traced to its origin."""

from typing import Any

import numpy as np
import pytest
from aimass import Client
from aimass.errors import ApiError
from rich.console import Console

import library
from benchmarks.call_trace import STAGES, medians
from benchmarks.interleaved import Plan
from benchmarks.optimised import NotMeasured, forms_of
from benchmarks.profiled import profile
from library.base import Part
from tests.e2e.test_members import evaluated, serves
from tests.house import House, until
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


def refusal(client: Client, number: int) -> str:
    with pytest.raises(ApiError) as refused:
        client.promote(MODEL, number)
    return str(refused.value)


def test_it_is_promoted_by_itself_only_where_its_gate_passes(house: House, client: Client, champion: int) -> None:
    ruined = client.optimise(MODEL, champion, "prune-channels", share=0.9, auto_promote=True)
    number, evaluation = evaluated(house, MODEL, ruined["id"])
    assert not evaluation["passed"]
    assert client.model(MODEL)["aliases"]["champion"] == champion
    until(lambda: "did not pass its evaluation" in refusal(client, number), what="registry to hear of the evaluation")
    kept = client.optimise(MODEL, champion, "graph", auto_promote=True)
    try:
        assert house.wait_served(kept["id"])["version"] > number
    finally:
        client.promote(MODEL, champion)
        until(lambda: serves(house, MODEL, champion), what="the first champion to serve again")


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


def test_the_table_has_each_form_beside_the_original(house: House, champion: int) -> None:
    plan, console = Plan(calls=5, windows=2, seconds=0.2, callers=2), Console(quiet=True)
    ways = ["int8-dynamic:exclude=Softmax", "prune-weights:share=0.98", "prune-channels:share=0.001"]
    original, int8, ruined, nothing = forms_of(house.stack.info, MODEL, champion, ways, plan, console)
    assert (original.version, original.metric, original.gate_passed) == (champion, "accuracy", True)
    assert (int8.gate_passed, int8.problem) == (True, "")
    assert int8.bytes_ratio is not None
    assert int8.bytes_ratio < 0.5
    for figure in (original.p50_ms, original.one_ms, int8.p50_ratio, int8.rows_ratio, int8.one_ratio, int8.many_ratio):
        assert figure is not None
        assert figure > 0
    assert (ruined.gate_passed, ruined.p50_ms) == (False, None)
    assert ruined.problem.startswith("accuracy is ")
    assert ruined.one_ratio is not None
    assert (nothing.version, nothing.problem[:7]) == (None, "failed:")
    with pytest.raises(NotMeasured, match="no such version that answers"):
        forms_of(house.stack.info, MODEL, 99, ways, plan, console)


def test_a_profile_has_the_stages_of_calls_and_the_operators_of_the_graph(house: House, champion: int) -> None:
    home = house.stack.home.path
    found = profile(home, house.stack.info, MODEL, champion, rows=4)
    assert len(found.calls) >= 50
    assert medians(found.calls).keys() == STAGES.keys()
    assert all(call.stages()["triton"] > 0 for call in found.calls)
    assert found.counted["compute_infer"] > 0
    assert {"Softmax", "MaxPool"} <= {each["operator"] for each in found.operators}
    with pytest.raises(NotMeasured, match="no such version"):
        profile(home, house.stack.info, MODEL, 99, rows=1)
