"""Texts are compared by how their words sound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from library.evaluation.words import counts, figures, mistakes, words

TEXTS = st.lists(st.sampled_from("abc"), max_size=6)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Mr. Dashwood's 10 cards!", "mister dashwoods ten cards"),
        ("cold-hearted, ill‐disposed", "cold hearted ill disposed"),
        ("1,234 of 17; 90% & more", "one thousand two hundred thirty four of seventeen ninety percent and more"),
        ("007 5550000123", "zero zero seven five five five zero zero zero zero one two three"),
        ("", ""),
    ],
)
def test_words_are_as_they_sound(text: str, found: str) -> None:
    assert words(text) == found.split()


@given(TEXTS, TEXTS)
def test_mistakes_are_the_least_that_make_one_of_the_other(said: list[str], heard: list[str]) -> None:
    def slow(one: list[str], other: list[str]) -> int:
        if not one or not other:
            return len(one) + len(other)
        change = slow(one[1:], other[1:]) + (one[0] != other[0])
        return min(change, slow(one[1:], other) + 1, slow(one, other[1:]) + 1)

    assert mistakes(said, heard) == slow(said, heard) == mistakes(heard, said)


def test_the_rate_is_over_all_words_and_lies_in_its_interval() -> None:
    said, heard = ["a b c d", "e f"], ["a b c", "e f g"]
    assert counts(said, heard) == [(1, 4), (1, 2)]
    found = figures(said, heard)
    assert found["word_error_rate"] == pytest.approx(2 / 6)
    assert found["word_error_rate_low"] == pytest.approx(0.25)
    assert found["word_error_rate_high"] == pytest.approx(0.5)
    assert found["words"] == 6
