"""The simulated motorway: what the planner says, what is asked of models, and that it is simulated as declared."""

import json
import subprocess
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from library.base import Part
from library.data.highway import AHEAD, EVERY, HISTORY, MIDDLE, HighwayClips, Rollouts, outcomes
from library.files import pack
from library.highway.closed_loop import FIRST, compared, holds
from library.highway.inside.planner import FASTER, KEEP, LEFT, RIGHT, SLOWER, plan
from library.highway.simulator import INSIDE, Roads, python, started
from library.members.collision_risk import time_to_collision
from library.members.driving_policy import MIRRORED, DrivingPolicy
from library.sources.archives import DataUnavailable

KINEMATICS = """
import json, numpy as np
from world import road, see, frames_of
env = road(7)
for manoeuvre in (3, 0, 2):
    for _ in frames_of(env, manoeuvre):
        pass
theirs = env.observation_type.observe()
theirs[0, 1] = 0
print(json.dumps([see(env).tolist(), theirs.tolist()]))
"""


def scene(own_y: float, own_speed: float, *others: tuple[float, float, float]) -> Any:
    """The car, and others by how far ahead, how far aside and how much faster they are."""
    table = np.zeros((8, 5))
    table[0] = [1, 0, own_y, own_speed, 0]
    for row, (x, y, vx) in enumerate(others, start=1):
        table[row] = [1, x, y, vx, 0]
    return table


@pytest.mark.parametrize(
    ("seen", "manoeuvre"),
    [
        (scene(4, 20), FASTER),
        (scene(4, 30), KEEP),
        (scene(0, 25, (18, 0, -5)), RIGHT),
        (scene(8, 25, (18, 0, -5)), LEFT),
        (scene(4, 25, (14, 0, -5), (0, 4, 0), (0, -4, 0)), SLOWER),
    ],
)
def test_the_planner_speeds_up_where_it_can_overtakes_where_it_must_and_brakes_where_it_has_to(
    seen: Any, manoeuvre: int
) -> None:
    assert plan(seen) == manoeuvre


rows = st.tuples(st.floats(-100, 100), st.floats(-8, 8), st.floats(-15, 15))


@given(st.sampled_from([0.0, 4.0, 8.0]), st.floats(5, 32), st.lists(rows, max_size=7))
def test_the_planner_never_leaves_the_road(y: float, speed: float, others: list[tuple[float, float, float]]) -> None:
    found = plan(scene(y, speed, *others))
    assert not (y == 0 and found == LEFT)
    assert not (y == 8 and found == RIGHT)


@given(st.floats(6, 60), st.floats(-20, 20))
def test_time_to_collision_is_the_gap_over_the_closing_speed(ahead: float, faster: float) -> None:
    found = time_to_collision(scene(4, 25, (ahead, 0, faster))[None].astype("<f4"))
    expected = (ahead - 5) / -faster if faster < 0 else np.inf
    assert found == pytest.approx([min(expected, 8)], abs=0.11)


def test_a_car_in_another_lane_or_none_at_all_is_not_met() -> None:
    tables = np.stack([scene(0, 30, (20, 4, -10)), scene(0, 30)]).astype("<f4")
    assert time_to_collision(tables).tolist() == [8, 8]


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=4))
def test_an_outcome_is_told_only_where_the_next_two_seconds_are_known(roads: list[tuple[int, bool]]) -> None:
    road = np.concatenate([np.full(count, number) for number, (count, _) in enumerate(roads)])
    crashed = np.concatenate(
        [np.arange(count) == count - 1 if ends else np.zeros(count, bool) for count, ends in roads]
    )
    latest, target = outcomes(road, crashed)
    for frame, crash in zip(latest, target, strict=True):
        number = road[frame]
        assert road[frame - HISTORY + 1] == number
        coming = slice(frame + 1, frame + 1 + AHEAD)
        assert crash == (crashed[coming] & (road[coming] == number)).any()
        assert crash or (road[coming] == number).sum() == AHEAD
        assert not crashed[frame]
    assert all(later - earlier >= EVERY for earlier, later in pairwise(latest))


def test_no_road_is_in_two_parts_or_in_the_closed_loop() -> None:
    shards = [shard for of in (Rollouts, HighwayClips) for part in Part for shard in of.roads[part]]
    seeds = [seed for shard in shards for seed in range(shard.first, shard.first + shard.count)]
    assert len(seeds) == len(set(seeds))
    assert max(seeds) < FIRST


@given(arrays("<f4", (3, 8, 5), elements=st.floats(-50, 50, width=16)))
def test_the_policy_answers_a_mirrored_road_with_the_mirrored_manoeuvre(tables: Any) -> None:
    torch.manual_seed(0)
    module = DrivingPolicy().build(DrivingPolicy().validate({})).eval()
    mirrored = tables * np.array([1, 1, -1, 1, -1], "<f4")
    mirrored[:, 0, 2] += 2 * MIDDLE
    with torch.no_grad():
        there, back = module(torch.from_numpy(tables)), module(torch.from_numpy(mirrored))
    torch.testing.assert_close(there[:, list(MIRRORED)], back, atol=1e-4, rtol=1e-4)


def test_what_a_car_sees_is_what_the_simulator_observes() -> None:
    command = [str(python()), "-E", "-s", "-B", "-c", KINEMATICS]
    answer = subprocess.run(command, cwd=INSIDE, capture_output=True, check=True, text=True)
    ours, theirs = json.loads(answer.stdout)
    np.testing.assert_allclose(ours, theirs, atol=0.0051)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds no roads; the simulator is that of the usual one."""
    interpreter = python()
    monkeypatch.setattr("library.highway.simulator.python", lambda tell: interpreter)
    monkeypatch.setattr("library.highway.simulator.cache", lambda: tmp_path)
    return tmp_path


def test_the_same_road_comes_again_to_the_last_byte(request: pytest.FixtureRequest) -> None:
    shard = HighwayClips.roads[Part.VALIDATION][0]
    kept = shard.read()
    assert sha256(pack(kept)).hexdigest() == shard.sha256
    first = {name: column[kept["road"] == shard.first] for name, column in kept.items()}
    request.getfixturevalue("fresh")
    again = Roads(first=shard.first, count=1, pictures=True, sha256=sha256(pack(first)).hexdigest())
    assert again.fetch().is_file()


def test_roads_that_come_out_otherwise_are_not_used(fresh: Path) -> None:
    wrong = Roads(first=10000, count=1, sha256="0" * 64)
    with pytest.raises(DataUnavailable, match="simulated here, have the digest .*, not 000"):
        wrong.fetch()
    assert not wrong.path.exists()


def test_a_simulator_that_fails_says_why() -> None:
    with (
        pytest.raises(DataUnavailable, match=r"drive.py of highway-env failed: .*'one'"),
        started("drive.py", "idm", "one", "1"),
    ):
        pass


def drives(crashes: int, speed: float) -> dict[str, Any]:
    def of(count: int, mean: float) -> list[dict[str, Any]]:
        return [{"crashed": number < count, "seconds": 30, "speed": mean + number / 10} for number in range(10)]

    return {"idm": of(1, 20), "driving-policy": of(crashes, speed)}


@pytest.mark.parametrize(
    ("crashes", "speed", "holds_"), [(1, 20, True), (2, 25, False), (0, 19.5, True), (0, 18, False)]
)
def test_a_policy_holds_that_crashes_no_more_than_idm_and_is_not_much_slower(
    crashes: int, speed: float, holds_: bool
) -> None:
    assert holds(drives(crashes, speed)) == holds_
    line = compared(drives(crashes, speed))[1]
    assert line.startswith(f"driving-policy: {crashes} crashes on 10 roads")
