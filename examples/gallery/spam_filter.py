"""Is a mail spam? python -m examples.gallery.spam_filter [MAIL.eml ...]"""

import sys
from email import message_from_bytes, policy
from pathlib import Path

import numpy as np
from aimass import Client

from examples.gallery import connected

LETTERS = (
    "Lunch on Thursday?\nHi Anna, shall we meet at the station at noon? I will bring the drafts. Best, Tom",
    "You are a WINNER\nClaim your FREE prize now!!! Click here, limited offer, 100% guaranteed, no credit check $$$",
)


def text_of(path: Path) -> str:
    """Subject and text of a mail, as the model was trained on them."""
    mail = message_from_bytes(path.read_bytes(), policy=policy.default)
    body = mail.get_body(("plain", "html"))
    return f"{mail['subject'] or ''}\n{body.get_content() if body else ''}"


def ask(client: Client, texts: list[str]) -> list[float]:
    """How likely each is spam."""
    answer = client.predict("spam-filter", {"text": np.array(texts, object)})
    spam = client.member("spam-filter")["labels"].index("spam")
    return [float(row[spam]) for row in answer["probabilities"]]


if __name__ == "__main__":
    texts = [text_of(Path(name)) for name in sys.argv[1:]] or list(LETTERS)
    for text, chance in zip(texts, ask(connected(), texts), strict=True):
        print(f"{chance:4.0%} spam  {text.splitlines()[0]}")
