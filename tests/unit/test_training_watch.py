"""What a training is told, which epoch is the best, when it ends, and what it says of answers and of wrong numbers."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

import library
from library.base import Condition, Gate
from library.training.best import Watch, measures, stopping_measures
from library.training.guard import Diverged, Guard
from library.training.insights import MOST_WORST, has_insights, insights_of
from library.training.place import Place
from shared.errors import InvalidInput
from shared.training import EarlyStopping, TrainingOptions, training_options

ACCURACY = Gate(conditions=(Condition(metric="accuracy", operator=">=", threshold=0.9),))
ERROR = Gate(conditions=(Condition(metric="unseen", threshold=1), Condition(metric="rmse", operator="<", threshold=3)))
SERIES = st.lists(st.floats(-5, 5).map(lambda value: round(value, 2)), min_size=1, max_size=30)


def seen(watch: Watch, name: str, values: list[float]) -> list[int]:
    """The epochs that were the best so far, until the training ends."""
    best = []
    for epoch, value in enumerate(values, start=1):
        if watch.see(epoch, {name: value, "validation_loss": -value}):
            best.append(epoch)
        if watch.is_over:
            break
    return best


@given(SERIES)
def test_the_best_is_the_first_of_the_highest(values: list[float]) -> None:
    watch = Watch(ACCURACY, TrainingOptions())
    found = seen(watch, "validation_accuracy", values)
    assert found[0] == 1
    assert found[-1] == values.index(max(values)) + 1 == watch.best.epoch
    assert watch.best.metrics["validation_accuracy"] == max(values)
    assert not watch.is_over


@given(SERIES)
def test_of_errors_the_lowest_is_the_best_and_a_gate_that_is_not_measured_does_not_count(values: list[float]) -> None:
    watch = Watch(ERROR, TrainingOptions())
    assert seen(watch, "validation_rmse", values)[-1] == values.index(min(values)) + 1
    loss = Watch(ERROR, TrainingOptions())
    assert seen(loss, "unknown", values)[-1] == values.index(max(values)) + 1, "by the validation loss"


@given(SERIES, st.integers(1, 4), st.floats(0, 2))
def test_it_ends_when_so_many_in_turn_were_no_better(values: list[float], patience: int, delta: float) -> None:
    told = EarlyStopping(patience=patience, min_delta=delta)
    watch = Watch(ACCURACY, TrainingOptions(early_stopping=told))
    best, since, ended = values[0], 0, len(values)
    for epoch, value in enumerate(values[1:], start=2):
        best, since = (value, 0) if value - best > delta else (best, since + 1)
        if since == patience:
            ended = epoch
            break
    seen(watch, "validation_accuracy", values)
    assert watch.is_over == (since == patience)
    assert watch.last_gain == ended - since


@given(SERIES, st.integers(1, 4), st.data())
def test_it_goes_on_from_what_was_kept(values: list[float], patience: int, data: st.DataObject) -> None:
    options = TrainingOptions(early_stopping=EarlyStopping(patience=patience))
    one, other = Watch(ACCURACY, options), Watch(ACCURACY, options)
    cut = data.draw(st.integers(0, len(values)))
    for epoch, value in enumerate(values, start=1):
        if epoch == cut + 1:
            other.restore(one.state())
        one.see(epoch, {"validation_accuracy": value})
        if epoch > cut:
            other.see(epoch, {"validation_accuracy": value})
            assert (other.state(), other.is_over) == (one.state(), one.is_over)


def test_which_end_of_a_metric_is_better_is_known_or_said() -> None:
    assert measures(ACCURACY) == [("validation_accuracy", "max"), ("validation_loss", "min")]
    assert stopping_measures(ERROR, EarlyStopping(patience=1, metric="train_loss")) == [("train_loss", "min")]
    assert stopping_measures(ERROR, EarlyStopping(patience=1, metric="validation_rmse")) == [("validation_rmse", "min")]
    assert stopping_measures(ERROR, EarlyStopping(patience=1, metric="own", mode="max")) == [("own", "max")]
    with pytest.raises(InvalidInput, match=r"^training\.early_stopping\.mode: say whether min or max of own is better"):
        stopping_measures(ERROR, EarlyStopping(patience=1, metric="own"))
    watch = Watch(ERROR, TrainingOptions(early_stopping=EarlyStopping(patience=1, metric="own", mode="max")))
    with pytest.raises(InvalidInput, match="own is not measured; there are a, b"):
        watch.see(1, {"b": 1.0, "a": 2.0})


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"checkpoint_steps": 0}, "training.checkpoint_steps"),
        ({"checkpoint_minutes": 0}, "training.checkpoint_minutes"),
        ({"clip_norm": math.inf}, "training.clip_norm"),
        ({"accumulate": 1025}, "training.accumulate"),
        ({"precision": "int8"}, "training.precision"),
        ({"early_stopping": {"min_delta": 1}}, "training.early_stopping.patience"),
        ({"profile_steps": 201}, "training.profile_steps"),
        ({"other": 1}, "training.other"),
        ([], "training"),
    ],
)
def test_wrong_options_are_named(given: Any, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: ") as caught:
        training_options(given)
    assert caught.value.field == field


def test_options_are_told_only_where_they_differ() -> None:
    assert TrainingOptions().told() == {}
    given = {"early_stopping": {"patience": 3}, "accumulate": 1, "clip_norm": 2.0}
    assert training_options(given).told() == {"early_stopping": {"patience": 3}, "clip_norm": 2.0}


def test_what_this_machine_cannot_do_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(InvalidInput, match=r"training\.device: torch finds no GPU here"):
        Place(TrainingOptions(device="cuda"))
    with pytest.raises(InvalidInput, match=r"training\.precision: float16 needs a GPU"):
        Place(TrainingOptions(precision="float16"))
    assert Place(TrainingOptions()).device.type == "cpu"


def test_a_loss_that_is_no_number_says_when_and_what_to_do() -> None:
    guard = Guard()
    with pytest.raises(Diverged, match=r"nan at step 1 of epoch 1; no loss was a number before: try a lower"):
        guard.check(math.nan, 1, 1)
    assert guard.check(2.5, 1, 1) == 2.5
    with pytest.raises(Diverged, match=r"the loss is inf at step 7 of epoch 3; the last loss before was 2\.5: try"):
        guard.check(math.inf, 3, 7)
    with pytest.raises(Diverged, match="norm of the gradient is inf at step 2 of epoch 1"):
        guard.check_gradient(math.inf, 1, 2)
    with pytest.raises(Diverged, match=r"validation_rmse is nan after epoch 4"):
        guard.check_all({"validation_loss": 1.0, "validation_rmse": math.nan}, 4)


@given(st.integers(1, 60), st.integers(0, 2**32))
def test_insights_count_what_was_answered(count: int, seed: int) -> None:
    model = library.model("digits-cnn")
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, 10, generator=generator)
    target = torch.randint(10, (count,), generator=generator)
    found = insights_of(model, outputs, target)
    answered = outputs.argmax(dim=1)
    for expected in range(10):
        for said in range(10):
            times = int(((target == expected) & (answered == said)).sum())
            assert found["confusion"][expected][said] == times
    losses = functional.cross_entropy(outputs.double(), target, reduction="none")
    assert [answer["loss"] for answer in found["worst"]] == sorted(losses.tolist(), reverse=True)[:MOST_WORST]
    for answer in found["worst"]:
        assert answer["expected"] == model.labels[int(target[answer["index"]])]
        assert answer["answered"] == model.labels[int(answered[answer["index"]])]
    assert all(pair["expected"] != pair["answered"] and pair["count"] for pair in found["most_confused"])


def test_only_classifiers_have_insights() -> None:
    assert has_insights(library.model("digits-cnn"))
    assert not has_insights(library.model("diabetes-mlp"))
