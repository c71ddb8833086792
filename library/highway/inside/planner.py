"""The planner that driving-policy learns from: looks at what each manoeuvre would lead to in the next four seconds."""

import numpy as np

LANES, LANE_WIDTH = 3, 4.0
SPEEDS = (10, 15, 20, 25, 30)
LEFT, KEEP, RIGHT, FASTER, SLOWER = range(5)
ASIDE = {LEFT: -1, RIGHT: 1}
SPEEDING = {FASTER: 1, SLOWER: -1}
TIMES = 0.2 * np.arange(1, 21)
SETTLE_SPEED, SETTLE_ASIDE = 0.6, 0.7
LENGTH, BESIDE, MARGIN, REACTION = 5.0, 2.6, 2.0, 0.9


def plan(seen: np.ndarray) -> int:
    """The best of five manoeuvres for a table [vehicles, 5] of presence, x, y, vx and vy: the first row is the car's
    own, the others are relative to it; metres and metres a second. Others keep speed and go to the lane they head for.
    """
    worth = {manoeuvre: _worth(seen, manoeuvre) for manoeuvre in range(5)}
    return max(worth, key=worth.__getitem__)


def _worth(seen: np.ndarray, manoeuvre: int) -> float:
    own, others = seen[0], seen[1:][seen[1:, 0] > 0]
    lane = _lane(own[2]) + ASIDE.get(manoeuvre, 0)
    if not 0 <= lane < LANES:
        return -np.inf
    speed = SPEEDS[int(np.clip(round((own[3] - SPEEDS[0]) / 5) + SPEEDING.get(manoeuvre, 0), 0, len(SPEEDS) - 1))]
    danger = _shortage(own, others, lane, speed)
    return speed + _room(own, others, lane, speed) - 20 * danger - 0.6 * (manoeuvre in ASIDE)


def _lane(y: float) -> int:
    return int(np.clip(round(y / LANE_WIDTH), 0, LANES - 1))


def _headed_for(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The lanes that others will be in after a second."""
    return np.clip(np.round((others[:, 2] + own[2] + others[:, 4] + own[4]) / LANE_WIDTH), 0, LANES - 1)


def _shortage(own: np.ndarray, others: np.ndarray, lane: int, speed: float) -> float:
    """By how many metres the distance to one that is ahead or behind falls short of a safe one; sooner counts more."""
    if not len(others):
        return 0.0
    lag, aside = np.exp(-TIMES / SETTLE_SPEED), np.exp(-TIMES / SETTLE_ASIDE)
    along = speed * TIMES + (own[3] - speed) * SETTLE_SPEED * (1 - lag)
    across = LANE_WIDTH * lane + (own[2] - LANE_WIDTH * lane) * aside
    velocity, y = (others[:, 3] + own[3])[:, None], (others[:, 2] + own[2])[:, None]
    ahead = others[:, 1, None] + velocity * TIMES - along
    target = LANE_WIDTH * _headed_for(own, others)[:, None]
    beside = np.abs(y + (target - y) * (1 - aside) - across) < BESIDE
    closing = np.where(ahead > 0, speed + (own[3] - speed) * lag - velocity, velocity - own[3])
    needed = LENGTH + MARGIN + REACTION * np.clip(closing, 0, None)
    short = np.where(beside, np.clip(needed - np.abs(ahead), 0, None), 0)
    return float((short * np.exp(-TIMES / 3)).max())


def _room(own: np.ndarray, others: np.ndarray, lane: int, speed: float) -> float:
    """What speed the lane allows for: that of the next one ahead, more where it is far; less 2 where it is near."""
    ahead = others[(_headed_for(own, others) == lane) & (others[:, 1] > 0)]
    if not len(ahead):
        return float(SPEEDS[-1])
    leader = ahead[ahead[:, 1].argmin()]
    gap, pace = leader[1] - LENGTH, leader[3] + own[3]
    pressed = gap <= 25 and speed > pace + 2
    return float(min(SPEEDS[-1], pace + max(gap - 15, 0) / 4)) - 2 * pressed
