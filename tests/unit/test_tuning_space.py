"""What studies draw from: ranges of a member's config, narrowed by people, refused in words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import library
from services.trainer.tuning.domain import planned
from services.trainer.tuning.space import Dimension, read_space
from shared.errors import InvalidInput
from shared.rpc.trainer import SubmitStudy
from shared.tuning import Range

MEMBER = library.model("breast-cancer-mlp")
BOUNDS = st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)).map(lambda pair: (min(pair), max(pair)))


@given(BOUNDS, st.booleans(), st.sampled_from(["int", "float"]), st.floats(0, 1))
def test_a_place_of_a_range_lies_within_it_and_is_found_again(
    bounds: tuple[float, float], log: bool, kind: Any, place: float
) -> None:
    low, high = (round(bounds[0]) + 1, round(bounds[1]) + 1) if kind == "int" else bounds
    dimension = Dimension(kind=kind, minimum=low, maximum=high, log=log)
    value = dimension.at(place)
    assert dimension.holds(value)
    assert dimension.at(dimension.place(value)) == pytest.approx(value)
    assert all(dimension.holds(point) for point in dimension.values())
    assert len(set(dimension.values())) == len(dimension.values()) <= dimension.points


def test_a_member_says_itself_what_is_a_tuners_to_set() -> None:
    space = read_space(MEMBER, {}, {})
    assert "epochs" not in space and "seed" not in space
    assert (space["learning_rate"].log, space["hidden"].kind) == (True, "int")
    assert "hidden" not in read_space(MEMBER, {"hidden": 8}, {})


@pytest.mark.parametrize(
    ("field", "given", "message"),
    [
        ("nothing", Range(), "there is no such field"),
        ("epochs", Range(minimum=1, maximum=2), "not a tuner's to set"),
        ("hidden", Range(minimum=64, maximum=8), "is above maximum"),
        ("hidden", Range(minimum=4.5), "whole numbers"),
        ("hidden", Range(choices=(8, 16), minimum=8), "either choices or bounds"),
        ("hidden", Range(choices=(8, -1)), "-1 cannot be"),
        ("learning_rate", Range(maximum=5.0), "5.0 cannot be"),
        ("dropout", Range(scale="log"), "above 0"),
    ],
)
def test_a_range_that_cannot_be_names_its_field(field: str, given: Range, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refused:
        planned(SubmitStudy(model=MEMBER.name, space={field: given}), MEMBER)
    assert refused.value.field == f"space.{field}"


def test_a_study_needs_something_to_tune() -> None:
    everything = {name: MEMBER.validate({}).model_dump()[name] for name in read_space(MEMBER, {}, {})}
    with pytest.raises(InvalidInput, match="nothing to tune") as refused:
        planned(SubmitStudy(model=MEMBER.name, config=everything), MEMBER)
    assert refused.value.field == "space"


def test_no_point_of_a_grid_is_tried_twice() -> None:
    hidden = {"hidden": Range(choices=(8, 16, 8))}
    fixed = dict.fromkeys(("dropout", "weight_decay", "learning_rate"), 0.1) | {"batch_size": 32}
    grid = planned(SubmitStudy(model=MEMBER.name, config=fixed, space=hidden, sampler="grid"), MEMBER)
    assert grid.parameters.trials == 2
