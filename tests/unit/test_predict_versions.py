"""What is asked of a version is asked once; one that serves no more, or takes something else now, is noticed."""

import json
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from services.gateway.open_inference.answers import answer_of
from services.gateway.open_inference.protocol import Answer, Call, InferenceProtocol, json_answer
from services.gateway.predict.predictor import Predictor, Translation
from services.gateway.predict.values import Item, tensors
from services.gateway.predict.versions import SERVING_SECONDS, Versions
from shared import frames, oip
from shared.errors import DeadlineExceeded, InvalidInput, NotFound, Unavailable
from shared.events.common import Signature, TensorSpec
from shared.rpc.inference import ServedModel
from shared.rpc.registry import DatasetView, ModelView, VersionView
from shared.signatures import read_request
from shared.tensors import from_numpy

SIZES = {1: 2, 2: 3, 3: 3}


def signature(version: int) -> Signature:
    return Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, SIZES[version])),))


class Platform:
    """Inference and registry as far as they are asked; `serving` answers, and what was asked is noted."""

    project = "default"

    def __init__(self) -> None:
        self.serving: int | None = 1
        self.is_known = self.is_deployed = self.has_data = True
        self.asked: list[str] = []
        self.now = 0.0

    def at(self, name: str, _: str = "read") -> tuple["Platform", str]:
        return self, name

    async def ask(self, request: Any) -> Any:
        verb = type(request).__name__
        self.asked.append(verb)
        return getattr(self, verb)(request)

    def GetServedModel(self, request: Any) -> ServedModel:  # noqa: N802
        if not self.is_deployed:
            raise NotFound("model 'm' is not deployed")
        return ServedModel(model="m", ready=True, version=self.serving)

    def GetModel(self, request: Any) -> ModelView:  # noqa: N802
        if not self.is_known:
            raise NotFound("no")
        return ModelView(name="m", project="default")

    def GetVersion(self, request: Any) -> VersionView:  # noqa: N802
        labels = [f"label of {request.version}"]
        facts = {"signature": signature(request.version), "labels": labels, "dataset": "d"}
        return VersionView(model="m", version=request.version, digest="0", **facts)

    def GetDataset(self, request: Any) -> DatasetView:  # noqa: N802
        if not self.has_data:
            raise NotFound("no")
        columns = ["age", "income"]
        feature = {"name": "x", "columns": columns}
        return DatasetView(name="d", digest="0", parts={}, facts={"schema": {"features": [feature]}})

    async def answer(self, method: str, call: Call) -> Answer:
        """As the data plane does, by the signature of the version that serves now."""
        version = int(call.version or self.serving or 0)
        body = (await call.receive())["body"]
        try:
            asked = read_request(body, int(call.headers[b"inference-header-content-length"]), signature(version), "m")
        except InvalidInput as error:
            return json_answer({"error": error.message}, 400)
        reply = oip.InferReply("m", str(version), (from_numpy("y", np.zeros((1, 1), np.float32)),))
        encoded = oip.encode_reply(reply, asked)
        answer = answer_of(frames.Reply(b"0" * 16, 200, encoded.body, str(version), encoded.header_length))
        answer.headers.append((b"x-prediction-id", b"an id"))
        return answer


def predictor(platform: Platform) -> Predictor:
    return Predictor(cast(InferenceProtocol, platform), Versions(lambda: platform.now))


def as_many(sizes: dict[int, int]) -> Translation:
    """What somebody sends who has one number for each."""
    return Translation(lambda facts: tensors([Item("items[0]", [0] * sizes[facts.version])], facts))


async def test_facts_are_asked_once_and_who_serves_every_now_and_then() -> None:
    platform = Platform()
    versions = Versions(lambda: platform.now)
    facts = await versions.find(platform, "m")
    assert (facts.version, facts.inputs[0].columns) == (1, ("age", "income"))
    assert platform.asked == ["GetServedModel", "GetVersion", "GetDataset"]
    for _ in range(3):
        assert await versions.find(platform, "m") is await versions.find(platform, "m", 1) is facts
    assert len(platform.asked) == 3
    platform.now, platform.serving = SERVING_SECONDS, 2
    assert (await versions.find(platform, "m")).version == 2
    assert platform.asked[3:] == ["GetServedModel", "GetVersion", "GetDataset"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda p: setattr(p, "serving", None), NotFound, "no promoted version"),
        (lambda p: setattr(p, "is_deployed", False), Unavailable, "not served now"),
        (lambda p: p.__dict__.update(is_deployed=False, is_known=False), NotFound, "there is no model 'm'"),
    ],
)
async def test_who_is_not_served_hears_why(change: Callable[[Platform], None], error: type, words: str) -> None:
    change(platform := Platform())
    with pytest.raises(error, match=words):
        await Versions().find(platform, "m")


async def test_other_projects_learn_nothing_from_what_is_remembered() -> None:
    platform, other = Platform(), Platform()
    other.project, other.is_deployed, other.is_known = "other", False, False
    versions = Versions()
    await versions.find(platform, "m")
    with pytest.raises(NotFound):
        await versions.find(other, "m")


async def test_without_its_data_set_numbers_have_numbers() -> None:
    platform = Platform()
    platform.has_data = False
    assert (await Versions().find(platform, "m")).inputs[0].columns == ("x.0", "x.1")


async def test_a_switch_between_two_requests_is_noticed_where_the_inputs_differ() -> None:
    platform = Platform()
    asking = predictor(platform)
    await asking.predict(platform, {}, "m", None, as_many(SIZES))
    platform.serving = 2
    predicted, facts = await asking.predict(platform, {}, "m", None, as_many(SIZES))
    assert (predicted.version, facts.labels) == (2, ("label of 2",))


async def test_labels_are_those_of_the_version_that_answered() -> None:
    platform = Platform()
    platform.serving = 2
    asking = predictor(platform)
    await asking.predict(platform, {}, "m", None, as_many(SIZES))
    platform.serving = 3
    predicted, facts = await asking.predict(platform, {}, "m", None, as_many(SIZES))
    assert (predicted.version, facts.version, facts.labels) == (3, 3, ("label of 3",))


async def test_a_mistake_is_told_after_it_was_made_sure_who_serves() -> None:
    platform = Platform()
    with pytest.raises(InvalidInput, match=r"items\[0\]"):
        await predictor(platform).predict(platform, {}, "m", None, as_many(dict.fromkeys(SIZES, 7)))
    assert platform.asked.count("GetServedModel") == 2


@pytest.mark.parametrize(("status", "error"), [(503, Unavailable), (504, DeadlineExceeded), (404, NotFound)])
async def test_a_refusal_of_the_protocol_comes_through(status: int, error: type) -> None:
    platform = Platform()

    async def refuse(method: str, call: Call) -> Answer:
        assert call.headers[b"authorization"] == b"Bearer key"
        return Answer(status, json.dumps({"error": "why"}).encode(), [(b"retry-after", b"7")])

    platform.answer = refuse  # type: ignore[method-assign]
    with pytest.raises(error, match="why") as refused:
        await predictor(platform).predict(platform, {"authorization": "Bearer key"}, "m", None, as_many(SIZES))
    assert refused.value.retry_after == 7
