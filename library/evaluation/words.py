"""How well words were heard: texts as words that are compared, and what share of them is wrong. Pure.

Spelling that sounds the same counts as the same, as in Whisper's own scoring: capitals, marks, figures, titles.
"""

import re
from collections.abc import Sequence
from typing import Final

ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS: Final = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SPOKEN: Final = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "%": "percent", "&": "and"}
ROUNDS: Final = 2000
SEED: Final = 20240501
PERCENTILES: Final = (2.5, 97.5)


def words(text: str) -> list[str]:
    """The words as they sound, in small letters."""
    plain = text.lower().replace("’", "'").replace("'", "")
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", plain)
    return [word for found in re.findall(r"\d+|[^\W\d_]+|[%&]", plain) for word in _spoken(found)]


def _spoken(word: str) -> list[str]:
    if word.isdecimal():
        return _number(int(word)) if len(word) <= 6 and not word.startswith("00") else [ONES[int(d)] for d in word]
    return [SPOKEN.get(word, word)]


def _number(value: int) -> list[str]:
    if value < len(ONES):
        return [ONES[value]]
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if value >= size:
            rest = value % size
            return [*_number(value // size), name, *(_number(rest) if rest else [])]
    return [TENS[value // 10], *(_number(value % 10) if value % 10 else [])]


def mistakes(said: Sequence[str], heard: Sequence[str]) -> int:
    """The least number of words put in, left out or changed that makes one of the other."""
    row: list[int] = [*range(len(heard) + 1)]
    for number, word in enumerate(said, 1):
        before, row = row, [number]
        for place, other in enumerate(heard):
            row.append(min(before[place + 1] + 1, row[place] + 1, before[place] + (word != other)))
    return row[-1]


def counts(said: Sequence[str], heard: Sequence[str]) -> list[tuple[int, int]]:
    """Of each pair of texts: how many words are wrong, and how many were said."""
    pairs = [(words(one), words(other)) for one, other in zip(said, heard, strict=True)]
    return [(mistakes(one, other), len(one)) for one, other in pairs]


def figures(said: Sequence[str], heard: Sequence[str]) -> dict[str, float]:
    """The word error rate over all texts, its 95% interval by bootstrap over texts, and how many words were said."""
    import numpy as np

    wrong, spoken = np.array(counts(said, heard), "f8").reshape(-1, 2).T
    chosen = np.random.RandomState(SEED).randint(len(said), size=(ROUNDS, len(said)))
    rates = wrong[chosen].sum(axis=1) / spoken[chosen].sum(axis=1).clip(1)
    low, high = np.percentile(rates, PERCENTILES)
    return {
        "word_error_rate": float(wrong.sum() / max(1.0, spoken.sum())),
        "word_error_rate_low": float(low),
        "word_error_rate_high": float(high),
        "words": float(spoken.sum()),
    }
