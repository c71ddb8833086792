"""In which language is it? python -m examples.gallery.language_id [TEXT ...]"""

import sys

from aimass import Client

from examples.gallery import connected

TEXTS = (
    "Where is the next railway station?",
    "Wo ist der nächste Bahnhof?",
    "Où est la prochaine gare ?",
    "次の駅はどこですか",
)


def ask(client: Client, texts: list[str]) -> list[tuple[str, float]]:
    """The language of each text, and how likely it is."""
    answers = client.ask("language-id", texts)["predictions"]
    return [(answer["label"], answer["score"]) for answer in answers]


if __name__ == "__main__":
    asked = sys.argv[1:] or list(TEXTS)
    for text, (label, chance) in zip(asked, ask(connected(), asked), strict=True):
        print(f"{label} ({chance:.0%})  {text}")
