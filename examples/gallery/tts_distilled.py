"""Reads a text aloud by a small voice: python -m examples.gallery.tts_distilled [TEXT [FILE.wav]], or .flac, .mp3."""

import sys
from pathlib import Path

from aimass import Client

from examples.gallery import connected

TEXT = "All human beings are born free and equal in dignity and rights."


def ask(client: Client, text: str, target: Path) -> Path:
    """The file with the spoken text."""
    return client.speak("tts-distilled", text, target)


if __name__ == "__main__":
    told = sys.argv[1:] or [TEXT]
    print(ask(connected(), told[0], Path(told[1] if len(told) > 1 else "spoken.wav")))
