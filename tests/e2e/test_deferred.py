"""Prefer: respond-async: the answer comes later and is the very one that a caller who waits gets."""

import aimass
import httpx
import numpy as np
import pytest
from aimass import types as t

from shared.oip import HEADER_LENGTH
from tests.e2e.deferred import (
    JSON_BODY,
    PATH,
    Body,
    accepted,
    binary,
    bodies,
    check_once,
    defer,
    ended,
    facts,
    later,
    result,
    told,
)
from tests.house import House, until

__all__ = ["later"]
BODIES: dict[str, Body] = {
    "json": (JSON_BODY, {}),
    "binary": binary(5),
    "large": binary(200_000),
    "larger": binary(3_000_000),
    "wrong": (JSON_BODY.replace(b"FP32", b"INT8"), {}),
    "broken": (b"{", {}),
}


@pytest.mark.parametrize("kind", BODIES)
def test_the_answer_is_that_of_a_caller_who_waits(later: House, kind: str) -> None:
    body, headers = BODIES[kind]
    at_once = later.http.post(PATH, content=body, headers=headers)
    response = later.http.post(PATH, content=body, headers=headers | {"Prefer": "foo=1, Respond-Async; x"})
    answer = result(later, accepted(response))
    at_once_told, later_told = told(at_once), told(answer)
    assert later_told == at_once_told
    assert (HEADER_LENGTH in answer.headers) == (HEADER_LENGTH in at_once.headers)
    assert answer.headers["x-prediction-id"] == response.json()["id"]


def test_it_is_kept_once_and_announced(later: House) -> None:
    location = accepted(defer(later))
    check_once(later, location)
    until(lambda: len(bodies(later, location.rpartition("/")[2])) == 1, what="the request's body to be dropped")
    shown = ended(later, location)
    assert (shown["state"], shown["status"], shown["attempts"]) == ("done", 200, 1)
    timeline = later.get("events", correlation_id=shown["correlation_id"], follow=False)["events"]
    assert [event["type"].rpartition(".")[2] for event in timeline] == ["InferenceCompleted"]
    assert "2.5" not in str(timeline)
    listed = later.get("inferences", model="later", state="done")["inferences"]
    assert shown["id"] in [one["id"] for one in listed]


def test_what_fails_says_so(later: House) -> None:
    location = accepted(defer(later, b"{"))
    shown = ended(later, location)
    assert (shown["state"], shown["status"]) == ("failed", 400)
    assert "JSON" in shown["note"]
    until(lambda: "InferenceFailed" in facts(later, shown["id"]), what="the announcement")


def test_one_idempotency_key_is_one_request(later: House) -> None:
    key = {"Idempotency_Key": "once"}
    location = accepted(defer(later, **key))
    assert accepted(defer(later, **key)) == location
    other = defer(later, JSON_BODY + b" ", **key)
    assert (other.status_code, "Idempotency-Key" in other.json()["error"]) == (409, True)
    check_once(later, location)
    assert defer(later, Idempotency_Key="a b").status_code == 400


def test_what_waits_is_cancelled(later: House) -> None:
    later.stack.stop(["triton"])
    try:
        until(lambda: later.http.get(PATH.replace("infer", "ready")).status_code != 200, what="Triton to be missed")
        location = accepted(defer(later))
        early = later.http.get(f"{location}/result")
        assert (early.status_code, early.headers["retry-after"]) == (409, "1")
        assert later.http.delete(location).json()["state"] == "cancelled"
    finally:
        later.stack.start(["triton"])
    assert later.http.delete(location).json()["state"] == "cancelled"
    assert later.http.get(f"{location}/result").status_code == 409
    until(lambda: later.http.get(PATH.replace("infer", "ready")).status_code == 200, what="the model to answer")
    done = accepted(defer(later))
    ended(later, done)
    assert (later.http.delete(done).status_code, ended(later, location)["state"]) == (409, "cancelled")


def test_what_nobody_deploys_is_refused_at_once(later: House) -> None:
    for path in ("/v2/models/nobody/infer", PATH.replace("versions/1", "versions/9")):
        refused = defer(later, path=path)
        assert (refused.status_code, "deployed" in refused.json()["error"]) == (404, True)
    until(lambda: not bodies(later, refused.headers["x-prediction-id"]), what="its body to be dropped")


def test_the_client_waits_for_it(later: House) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    with aimass.Client(later.stack.info["gateway"], later.key) as client:
        binary_one = client.predict_later("later", {"x": rows}, 1)
        json_one = client.infer_later("later", [t.Tensor(name="x", datatype="FP32", shape=[1, 2], data=[1, 2])], 1)
        np.testing.assert_array_equal(client.inference_result(binary_one["id"])["y"], 2 * rows)
        assert client.inference_result(json_one["id"])["outputs"][0]["data"] == [2, 4]
        assert client.inference(json_one["id"])["state"] == "done"
        assert json_one["id"] in [one["id"] for one in client.inferences(model="later")]
        broken = client.infer_later("later", [], 1)
        with pytest.raises(aimass.Invalid):
            client.inference_result(broken["id"])
        with pytest.raises(aimass.Conflict):
            client.cancel_inference(broken["id"])
        assert len(client.create_webhook("mine", "https://example.com/")["secret"]) > 40
        assert "mine" in [webhook["name"] for webhook in client.webhooks()]
        client.delete_webhook("mine")
        with pytest.raises(aimass.NotFound):
            client.delete_webhook("mine")


@pytest.mark.parametrize("name", ["01890000-0000-7000-8000-000000000000", "nobody"])
def test_what_is_not_there_is_not_shown(later: House, name: str) -> None:
    expected = 404 if "-" in name else 422
    for path in (f"/api/v1/inferences/{name}", f"/api/v1/inferences/{name}/result"):
        response: httpx.Response = later.http.get(path)
        assert response.status_code == expected
    assert later.http.delete(f"/api/v1/inferences/{name}").status_code == expected
