"""The simulated road: what there is, what the car sees of it, and pictures from above."""

import ctypes
import signal
import warnings

import gymnasium
import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import highway_env  # noqa: F401  (names its roads to gymnasium)
from planner import SPEEDS

PR_SET_PDEATHSIG = 1
ROAD = "highway-fast-v0"
SECONDS, FRAMES = 30, 5
SEEN = 8
HEIGHT, WIDTH = 32, 64
LUMA = np.array([0.299, 0.587, 0.114])
CONFIG = {
    "observation": {"type": "Kinematics", "vehicles_count": SEEN, "absolute": False, "normalize": False, "clip": False},
    "action": {"type": "DiscreteMetaAction", "target_speeds": list(SPEEDS)},
    "duration": SECONDS,
    "policy_frequency": 1,
    "simulation_frequency": FRAMES,
    "offscreen_rendering": True,
    "screen_width": 2 * WIDTH,
    "screen_height": 2 * HEIGHT,
    "scaling": 2.5,
    "centering_position": [0.35, 0.5],
}


def die_with_parent() -> None:
    """Have the kernel end this process with the one that started it, which alone wants what it finds."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def road(seed: int) -> gymnasium.Env:
    """Three lanes, 20 cars driven by IDM and MOBIL, and the one that is to be driven."""
    env = gymnasium.make(ROAD, config=CONFIG, render_mode="rgb_array").unwrapped
    env.reset(seed=seed)
    return env


def see(env: gymnasium.Env) -> np.ndarray:
    """What highway-env's Kinematics observation gives, rounded to centimetres, its own x 0: a last bit that processors
    differ in is not to change a file.
    """
    own, table = env.vehicle, np.zeros((SEEN, 5))
    table[0] = [1, 0, own.position[1], *own.velocity]
    near = env.road.close_vehicles_to(own, env.PERCEPTION_DISTANCE, count=SEEN - 1, see_behind=True, sort=True)
    for row, other in enumerate(near, start=1):
        table[row] = [1, *(other.position - own.position), *(other.velocity - own.velocity)]
    return np.round(table, 2)


def frames_of(env: gymnasium.Env, manoeuvre: int):
    """Carry out a manoeuvre for a second; gives control back after each frame, and ends with a crash."""
    env.action_type.act(manoeuvre)
    for _ in range(FRAMES):
        env.road.act()
        env.road.step(1 / FRAMES)
        yield
        if env.vehicle.crashed:
            return


def picture(env: gymnasium.Env) -> np.ndarray:
    """Grey pixels [32, 64], 0.8 m each, from above; the car is in the middle, a third from the left."""
    grey = env.render() @ LUMA
    return np.round(grey.reshape(HEIGHT, 2, WIDTH, 2).mean(axis=(1, 3))).astype("u1")
