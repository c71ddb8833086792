"""Does the car change lanes? python -m examples.gallery.driving_clips: a clip drawn here, as a member's own example."""

from aimass import Client

from examples.gallery import connected


def ask(client: Client) -> tuple[str, float]:
    """Where the car of the member's example goes, and how sure the model is."""
    clip = client.member("driving-clips")["example"]["inputs"][0]["data"]
    (answer,) = client.ask("driving-clips", [clip])["predictions"]
    return answer["label"], answer["score"]


if __name__ == "__main__":
    lane, chance = ask(connected())
    print(f"{lane} ({chance:.0%})")
