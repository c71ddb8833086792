"""A wheel of somebody else, installed beside the stack, is trained, evaluated as served, promoted and asked."""

from pathlib import Path

import pytest

from deploy.embedded.parts import USING_LIBRARY
from tests.e2e.test_members import evaluated, serves, train
from tests.house import House, until
from tests.wheels import EXAMPLE, build, pip

MODEL = "wine-linear"


@pytest.fixture(scope="module")
def champion(house: House, tmp_path_factory: pytest.TempPathFactory) -> int:
    """The version that answers, after trainer and evaluator were started anew."""
    wheel = build(EXAMPLE, tmp_path_factory.mktemp("wheels"))
    pip("install", "--no-deps", "--no-index", "--target", house.stack.home.members, wheel)
    house.stack.stop(USING_LIBRARY)
    house.stack.start(USING_LIBRARY)
    until(lambda: MODEL in names(house), what=f"{MODEL} in the library")
    number, evaluation = evaluated(house, MODEL, train(house, MODEL))
    assert evaluation["passed"], evaluation
    until(lambda: serves(house, MODEL, number), what=f"{MODEL} to be served")
    return number


def names(house: House) -> set[str]:
    return {member["name"] for member in house.get("library")["members"]}


def test_it_is_served_like_a_member_of_ours(house: House, champion: int) -> None:
    member = house.get(f"library/{MODEL}")
    answer = house.http.post(f"/v2/models/{MODEL}/infer", json=member["example"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == str(champion)
    (output,) = answer.json()["outputs"]
    assert sum(output["data"]) == pytest.approx(1, abs=1e-5)


def test_the_environment_of_the_checkout_stays_as_it_is(house: House, champion: int) -> None:
    (installed,) = Path(house.stack.home.members).glob("aimass_wine*.dist-info")
    assert house.get("library")["problems"] == []
    assert not list(Path(pytest.__file__).parents[1].glob(installed.name))
