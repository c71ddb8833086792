"""What is this text about? python -m examples.gallery.summarizer [FILE], plain text in English."""

import sys
from pathlib import Path

from aimass import Client

from examples.gallery import connected

TEXT = """Hello everybody,

I hope you all had a good summer. As some of you know the old mail server has been giving us trouble since June.
On Saturday we move all mailboxes of the list to the new server. Mail that is sent between six and nine will wait and
be delivered afterwards, so nothing is lost. You need not change anything in your mail program. If the new server
refuses your password on Sunday, please tell me. By the way, the coffee machine works again.

Best wishes,
Ann
"""


def ask(client: Client, text: str) -> tuple[str, list[tuple[str, float]]]:
    """The three sentences that tell most, and the best ten with the share of each, the best first."""
    (answer,) = client.ask("summarizer", [text])["predictions"]
    return answer["outputs"]["summary"], [(found["label"], found["score"]) for found in answer["items"]]


if __name__ == "__main__":
    summary, sentences = ask(connected(), Path(sys.argv[1]).read_text() if sys.argv[1:] else TEXT)
    print(summary)
    for sentence, share in sentences:
        print(f"  {share:4.0%}  {' '.join(sentence.split())}")
