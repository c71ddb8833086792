"""Settings of Triton are tried at a real one, and turned only where that is better."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.interleaved import Plan
from benchmarks.suggested import Stand, advice
from benchmarks.triton_settings import Setting, Tried, chosen, steps
from deploy.embedded.testing_servers import triton_server
from tests.integration.networks import convolutions, images
from tests.integration.onnx_models import doubled

PLAN = Plan(calls=3, windows=2, seconds=0.1, callers=2, warm_up=1)


def walked(better: Sequence[Setting]) -> list[Setting]:
    """What a walk tries, where these settings turn out to be better."""
    tried: list[Setting] = []
    best, walk = Setting(), steps(Setting(), cores=2)
    others = next(walk)
    while True:
        tried += others
        best = next((each for each in others if each in better), best)
        try:
            others = walk.send(best)
        except StopIteration:
            return tried


def test_one_knob_is_turned_after_the_other_from_the_best_so_far() -> None:
    two = Setting(instances=2)
    assert walked([]) == [two, Setting(delay=500), Setting(delay=2000), Setting(max_batch=8), Setting(threads=2)]
    later = [Setting(2, 500), Setting(2, 2000), Setting(2, 0, 8), Setting(2, 0, 64, 2)]
    assert walked([two]) == [two, *later]


@pytest.mark.parametrize(
    ("rows", "p50", "is_better"), [(1.5, 1.0, True), (1.04, 0.5, False), (1.5, 1.3, False), (0.5, 0.5, False)]
)
def test_better_is_more_than_noise_and_not_paid_by_one_caller(rows: float, p50: float, is_better: bool) -> None:
    before, tried = Tried(Setting(), 100, 1), Tried(Setting(instances=2), 100 * rows, p50, rows, p50)
    assert tried.is_better is is_better
    assert chosen(before, [tried]) is (tried if is_better else before)


def test_a_setting_is_written_as_triton_reads_it() -> None:
    plain, turned = (
        each.config("default.m.1", convolutions().signature) for each in (Setting(), Setting(2, 500, 8, 2))
    )
    assert "dynamic_batching { }" in plain
    assert "dynamic_batching { max_queue_delay_microseconds: 500 }" in turned
    assert "max_batch_size: 8" in turned
    assert "count: 2" in turned
    assert "max_queue" not in Setting(delay=500).config("default.m.1", doubled(3, 4).signature)


def test_advice_says_what_can_be_set_and_what_cannot() -> None:
    assert len(advice("cnn", Setting())) == 1
    instances, rest = advice("cnn", Setting(instances=2, delay=500))
    assert '/models/cnn/resources {"instances_min": 1, "instances_max": 2}' in instances
    assert rest.startswith("delay, batch size and threads cannot be set")


async def test_triton_answers_with_each_setting(tmp_path: Path) -> None:
    network = convolutions()
    with triton_server(tmp_path / "triton") as server:
        stand = Stand(server, network.onnx, network.signature, images(1), PLAN)
        first, second = await stand.try_all([Setting(), Setting(instances=2, delay=200, max_batch=8, threads=2)])
        assert (first.rows_ratio, first.p50_ratio) == (1, 1)
        assert min(second.rows_per_second, second.p50_ms, second.rows_ratio, second.p50_ratio) > 0
