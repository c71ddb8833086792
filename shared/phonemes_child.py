"""The process that knows how words sound: `python -m shared.phonemes_child`, a line of JSON in, a line of JSON out.

It alone loads espeak-ng, whose licence is GPL-3, from the wheel that brings it; nothing else of the platform does. A
text becomes its sentences in letters of sound (IPA); with `--speak` samples of espeak-ng's own voice, 22,050 a second.
"""

import ctypes
import json
import re
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

VOICE: Final = b"en-us"
RETRIEVAL, UTF8, IPA = 1, 1, 0x02
WHOLE: Final = ".!?"
MARKS: Final = ".!?,;:"
LAST: Final = re.compile(r"""([.!?,;:])["'”’)\]}\s]*\S?$""")
LANGUAGE: Final = re.compile(r"\([a-z-]+\)")
SHORTENED: Final = re.compile(r"\b(Mr|Mrs|Ms|Dr|Prof|St)\.(?=\s)")
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def load() -> ctypes.CDLL:
    """The library, ready to read English."""
    spec = find_spec("espeakng_loader")
    if spec is None or spec.origin is None:
        raise SystemExit("the wheel espeakng-loader is not installed: ./justw install")
    folder = Path(spec.origin).parent
    library = ctypes.CDLL(str(folder / "libespeak-ng.so"))
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    if library.espeak_Initialize(RETRIEVAL, 0, str(folder).encode(), 0) < 0 or library.espeak_SetVoiceByName(VOICE):
        raise SystemExit("espeak-ng cannot read its data")
    return library


def sentences(library: ctypes.CDLL, text: str) -> list[str]:
    """The sentences of a text in letters of sound, marks after each part."""
    found = [""]
    for part, mark in _parts(library, SHORTENED.sub(r"\1", text)):
        found[-1] += f" {part}{mark}" if found[-1] else f"{part}{mark}"
        if mark and mark in WHOLE:
            found.append("")
    return [sentence for sentence in found if sentence.strip(MARKS + " ")]


def _parts(library: ctypes.CDLL, text: str) -> Iterator[tuple[str, str]]:
    """Each part as espeak-ng divides the text, and the mark at its end: it reads a letter of the next part too."""
    content = ctypes.create_string_buffer(text.encode())
    start = ctypes.addressof(content)
    place = ctypes.c_void_p(start)
    while place.value is not None:
        before = place.value - start
        sound = library.espeak_TextToPhonemes(ctypes.byref(place), UTF8, IPA)
        end = len(content.raw) - 1 if place.value is None else place.value - start
        mark = LAST.search(content.raw[before:end].decode(errors="ignore"))
        yield LANGUAGE.sub("", (sound or b"").decode()).strip(), mark[1] if mark else ""


def samples(library: ctypes.CDLL, text: str) -> list[int]:
    """What the library's own voice says, 16 bits a sample."""
    found: list[int] = []

    def keep(wave: Any, count: int, _: Any) -> int:
        if wave and count > 0:
            found.extend(wave[:count])
        return 0

    content = text.encode() + b"\0"
    called = Callback(keep)
    library.espeak_SetSynthCallback(called)
    library.espeak_Synth(content, ctypes.c_size_t(len(content)), 0, 1, 0, UTF8, None, None)
    library.espeak_Synchronize()
    return found


def main() -> None:
    work: Callable[[ctypes.CDLL, str], Any] = samples if "--speak" in sys.argv else sentences
    library = load()
    for line in sys.stdin:
        print(json.dumps(work(library, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
