"""Will the car crash within two seconds? python -m examples.gallery.collision_risk: a car that is nearer and nearer."""

from aimass import Client

from examples.gallery import connected

GAPS = (60, 40, 20, 12)
OWN, CLOSING, FRAMES, CARS = [1.0, 0.0, 4.0, 30.0, 0.0], 10.0, 5, 8


def second(gap: float) -> list[list[list[float]]]:
    """Five frames of the last second: the car goes 30 m/s, and one in its lane, now so far ahead, 20 m/s."""
    nothing = [[0.0] * 5] * (CARS - 2)
    earlier = [0.2 * (FRAMES - 1 - frame) for frame in range(FRAMES)]
    return [[OWN, [1.0, gap + CLOSING * seconds, 0.0, -CLOSING, 0.0], *nothing] for seconds in earlier]


def ask(client: Client, gaps: list[float]) -> list[float]:
    """The chance of a crash for each distance to the car ahead."""
    rows = [[cell for frame in second(gap) for car in frame for cell in car] for gap in gaps]
    answers = client.ask("collision-risk", rows)["predictions"]
    return [answer["scores"]["crash"] for answer in answers]


if __name__ == "__main__":
    for metres, chance in zip(GAPS, ask(connected(), list(GAPS)), strict=True):
        print(f"{metres} m ahead: {chance:.0%}")
