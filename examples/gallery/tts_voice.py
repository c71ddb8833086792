"""Reads a text aloud: python -m examples.gallery.tts_voice [TEXT [FILE.wav]], or .flac, .opus, .mp3."""

import sys
from pathlib import Path

from aimass import Client

from examples.gallery import connected

TEXT = "All human beings are born free and equal in dignity and rights."


def ask(client: Client, text: str, target: Path) -> Path:
    """The file with the spoken text."""
    return client.speak("tts-voice", text, target)


if __name__ == "__main__":
    told = sys.argv[1:] or [TEXT]
    print(ask(connected(), told[0], Path(told[1] if len(told) > 1 else "spoken.wav")))
