"""What is to be done behind a slow car? python -m examples.gallery.driving_policy: with and without others beside."""

from aimass import Client

from examples.gallery import connected

CARS = 8
Row = list[float]
SLOW, LEFT, RIGHT = [1.0, 20.0, 0.0, -6.0, 0.0], [1.0, 0.0, -4.0, 0.0, 0.0], [1.0, 0.0, 4.0, 0.0, 0.0]
SCENES: dict[str, list[Row]] = {
    "free road": [],
    "slow car ahead": [SLOW],
    "and one on the left": [SLOW, LEFT],
    "and on both sides": [SLOW, LEFT, RIGHT],
}


def table(others: list[Row]) -> Row:
    """The car goes 25 m/s in the middle lane; others as its table has them: presence, x, y, vx, vy."""
    rows = [[1.0, 0.0, 4.0, 25.0, 0.0], *others, *[[0.0] * 5] * (CARS - 1 - len(others))]
    return [cell for row in rows for cell in row]


def ask(client: Client, scenes: list[list[Row]]) -> list[tuple[str, float]]:
    """The manoeuvre for each scene, and how sure the model is."""
    answers = client.ask("driving-policy", [table(others) for others in scenes])["predictions"]
    return [(answer["label"], answer["score"]) for answer in answers]


if __name__ == "__main__":
    for scene, (manoeuvre, chance) in zip(SCENES, ask(connected(), list(SCENES.values())), strict=True):
        print(f"{scene}: {manoeuvre} ({chance:.0%})")
