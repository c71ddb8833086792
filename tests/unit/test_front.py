"""Text becomes the same numbers in training and when served, and those that feature hashing says."""

import re
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import murmurhash3_32

from library.graphs.front import hashed_letters, hashed_words, through

BUCKETS, MOST = 1000, 8
WORDS, LETTERS = hashed_words("text", BUCKETS, MOST), hashed_letters("text", BUCKETS, MOST)
texts = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60), min_size=1)


def numbers(parts: list[str]) -> list[int]:
    return [murmurhash3_32(part.encode(), 0, True) % BUCKETS + 1 for part in parts[:MOST]]


def found(front: Any, given: list[str]) -> list[list[int]]:
    (rows,) = through(front, {"text": np.array(given, object)}).values()
    assert rows.shape[1] >= 1
    return [[number for number in row if number] for row in rows.tolist()]


@given(texts)
def test_words_are_hashed_as_told(given: list[str]) -> None:
    lower = [re.sub("[A-Z]", lambda letter: letter.group().lower(), text) for text in given]
    assert found(WORDS, given) == [numbers(re.findall(r"[a-z0-9$!']+", text)) for text in lower]


@given(texts)
def test_letters_are_hashed_as_told(given: list[str]) -> None:
    assert found(LETTERS, given) == [numbers(list(text)) for text in given]


def test_rows_do_not_depend_on_their_neighbours() -> None:
    given = ["Buy now", "", "a b c d e f g h i j k l", "buy NOW"] * 400
    together, alone = found(WORDS, given), [found(WORDS, [text])[0] for text in given[:4]]
    assert together == alone * 400
    assert alone[0] == alone[3]
