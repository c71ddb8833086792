"""What is said? python -m examples.gallery.asr_tiny FILE, sound as WAV, FLAC, OGG or MP3."""

import sys
from pathlib import Path

from aimass import Client

from examples.gallery import connected


def ask(client: Client, sound: Path) -> str:
    """The words of a file of sound."""
    return client.transcribe("asr-tiny", sound)


if __name__ == "__main__":
    print(ask(connected(), Path(sys.argv[1])))
