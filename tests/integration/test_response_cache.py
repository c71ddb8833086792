"""The response cache over a real Triton: a repeated request costs it nothing, and its answer is the same."""

import pytest
from prometheus_client import REGISTRY

from shared.context import Context
from shared.names import DEFAULT_PROJECT
from shared.rpc.inference import GetInferenceStatistics
from tests.integration.onnx_models import affine
from tests.integration.test_inference import House, house, lost_seconds, settings, triton

__all__ = ["house", "lost_seconds", "settings", "triton"]


@pytest.fixture
def cached_models() -> frozenset[str]:
    return frozenset({f"{DEFAULT_PROJECT}/affine"})


async def calls(house: House) -> int:
    """How often Triton was asked."""
    stats = await house.service.bus.ask(GetInferenceStatistics(model="affine"), Context())
    return int(stats.model_stats[0]["execution_count"])


def hits() -> float:
    labels = {"project": DEFAULT_PROJECT, "model": "affine"}
    return REGISTRY.get_sample_value("aimass_response_cache_hits_total", labels) or 0.0


async def test_a_repeated_request_is_answered_from_memory(house: House) -> None:
    await house.register(affine(), 1)
    await house.said("deployment_staged")
    before, found = hits(), []
    for _ in range(3):
        _, answer = await house.infer(version="1")
        assert answer is not None
        found.append((answer.outputs, answer.parameters["prediction_id"]))
    assert await calls(house) == 1
    assert hits() == before + 2
    assert [outputs for outputs, _ in found] == [found[0][0]] * 3
    assert len({prediction_id for _, prediction_id in found}) == 3
