"""Text is cut into words and sentences by the graph, the same whoever is in the batch."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from library.graphs.cuts import (
    CUT,
    LETTERS,
    LONGEST,
    SENTENCE,
    SPACED_WORD,
    SPACES,
    pieces_of,
    sentences,
    spaced_words,
    told,
)
from library.graphs.front import through

pytestmark = pytest.mark.library
MANY = 1000
WORDS, SENTENCES = spaced_words("text", MANY), sentences("text", 5, 6)
letters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
texts = st.lists(st.text(letters | st.sampled_from(" .!?\n'é"), max_size=40), min_size=1, max_size=4)


def through_front(front: Any, given: list[str]) -> dict[str, Any]:
    return through(front, {"text": np.array(given, object)})


@settings(max_examples=25)  # each makes sessions
@given(texts)
def test_words_together_are_the_text(given: list[str]) -> None:
    found = through_front(WORDS, given)
    assert found[LETTERS].shape == (*found[CUT].shape, LONGEST)
    for text, row, numbers in zip(given, found[CUT].tolist(), found[LETTERS], strict=True):
        joined = "".join(row)
        assert text.startswith(joined)
        assert text.removeprefix(joined).strip(SPACES) == ""
        for word, codes in zip(row, numbers, strict=True):
            plain = word.lstrip(SPACES)[:LONGEST]
            assert codes.tolist() == [ord(each) if each.isascii() else 127 for each in plain] + [0] * (
                LONGEST - len(plain)
            )


@settings(max_examples=25)  # each makes sessions
@given(texts)
def test_rows_do_not_depend_on_their_neighbours(given: list[str]) -> None:
    found = through_front(SENTENCES, given)
    for number, text in enumerate(given):
        alone = through_front(SENTENCES, [text])
        count, words = alone[LETTERS].shape[1:3]
        assert found[CUT][number, :count].tolist() == alone[CUT][0].tolist()
        np.testing.assert_array_equal(found[LETTERS][number, :count, :words], alone[LETTERS][0])
        assert not found[LETTERS][number, count:].any()
        assert not found[LETTERS][number, :, words:].any()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hi all,\n\nI met Mr. Smith. He left!", ["Hi all,", "I met Mr. Smith.", "He left!"]),
        ("Version 3.5 is out... Why? (See e.g. the list.)", ["Version 3.5 is out...", "Why?", "(See e.g. the list.)"]),
        ('He said "Go!" J. R. R. Tolkien\nwrote it', ['He said "Go!"', "J. R. R. Tolkien\nwrote it"]),
        ("- one\n- two\n \nthree", ["- one\n- two", "three"]),
        ("  ", []),
    ],
)
def test_sentences_end_with_a_mark_or_an_empty_line(text: str, wanted: list[str]) -> None:
    assert pieces_of([text], SENTENCE, 5) == [wanted]


def test_no_more_than_the_first_pieces_are_kept() -> None:
    assert pieces_of(["a b c", "d"], SPACED_WORD, 2) == [["a", " b"], ["d"]]
    assert through_front(SENTENCES, ["a b c d e f g. h"])[LETTERS].shape == (1, 2, 6, LONGEST)


def test_what_is_told_stands_in_the_order_of_the_text() -> None:
    back = told("numbers", "sentences", "summary", 3, 2)
    cut = np.array([["a.", "b.", "c."], ["d.", "", ""]], object)
    found = through(back, {"numbers": np.array([[2, 0, 1], [0, -1, -1]]), CUT: cut})
    assert found["sentences"].tolist() == [["c.", "a.", "b."], ["d.", "", ""]]
    assert found["summary"].tolist() == ["a. c.", "d."]
