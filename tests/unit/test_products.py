"""Questions of product-search lie in one part each, and full text ranks as BM25 says."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from library.base import Part
from library.data.products import KINDS, Products, kinds, shelves
from library.evaluation.rivals import full_text


def test_each_category_is_asked_for_once_and_names_its_own_kinds() -> None:
    parts = Products().parts()
    asked = [text.decode() for part in Part for text in parts[part]["text"]]
    assert sorted(asked) == sorted(shelves())
    assert len(kinds()) == KINDS
    for text, row in zip(parts[Part.TEST]["text"], parts[Part.TEST]["kinds"], strict=True):
        assert tuple(kinds()[number] for number in row if number >= 0) == shelves()[text.decode()]


words = st.lists(st.sampled_from(["tea", "milk", "oil", "rice", "egg"]), min_size=1, max_size=6)


@given(st.lists(words, min_size=2, max_size=8), words)
def test_full_text_is_bm25(texts: list[list[str]], asked: list[str]) -> None:
    count, mean = len(texts), np.mean([len(text) for text in texts])

    def score(text: list[str]) -> float:
        return sum(weight(word, text) for word in {*asked} & {*text})

    def weight(word: str, text: list[str]) -> float:
        having = sum(word in other for other in texts)
        often, rare = text.count(word), math.log1p((count - having + 0.5) / (having + 0.5))
        return rare * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * len(text) / mean))

    (found,) = full_text([" ".join(text) for text in texts], [" ".join(asked)], 3)
    scores = [score(text) for text in texts]
    best = sorted((value for value in scores if value > 0), reverse=True)[:3]
    np.testing.assert_allclose([scores[number] for number in found if number >= 0], best)


def test_a_plural_is_found_by_its_singular() -> None:
    assert full_text(["frozen pizzas", "soap"], ["pizza", "candles"], 2).tolist() == [[0, -1], [-1, -1]]
