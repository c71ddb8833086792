"""What a voice teaches: of sentences that do not test, with a length for each sound, the same each time."""

import re

import numpy as np
import pytest

import library
from library.base import Part
from library.data.tts_taught import SHARED, TtsTaught, runs
from library.graphs.front import joined
from library.graphs.teacher import Teacher
from library.members.tts_voice import FILE, VOICE, TtsVoice
from library.sources.lessons import Lessons

pytestmark = pytest.mark.library
LETTERS = "həlˈoʊ wˈɜːld."


def test_no_sentence_that_is_learnt_from_is_like_one_that_tests() -> None:
    texts = TtsTaught().texts()
    assert len(texts[Part.TRAIN]) > 1000
    tested = library.data_set("sentences").parts()[Part.TEST]["text"]
    assert texts[Part.TEST] == [text.decode() for text in tested]
    held = {run for text in texts[Part.TEST] for run in runs(text)}
    assert held
    for part in (Part.TRAIN, Part.VALIDATION):
        assert held.isdisjoint(run for text in texts[part] for run in runs(text))
    assert set(texts[Part.TRAIN]).isdisjoint(texts[Part.VALIDATION])
    assert sum(len(re.findall(r"\w+", text)) for text in texts[Part.TEST]) > 500


def test_a_run_is_told_whatever_its_marks_and_capitals() -> None:
    assert runs("All men, it SAYS: are") == [("all", "men", "it", "says", "are")]
    assert runs(" ".join(["a"] * (SHARED - 1))) == []


def test_a_teacher_says_the_same_each_time_and_how_long_each_sound_is() -> None:
    first, second = (Teacher(VOICE.read(FILE), TtsVoice().front()).say(LETTERS.encode()) for _ in range(2))
    np.testing.assert_array_equal(first.sound, second.sound)
    assert len(first.lengths) == len(LETTERS) + 2
    assert first.lengths.min() >= 1
    assert first.lengths.sum() == len(first.sound)
    assert 40 < len(first.sound) < 130


def test_lessons_lie_where_their_letters_say() -> None:
    one = Lessons(phonemes=(LETTERS,))
    assert one.path == Lessons(phonemes=(LETTERS,)).path
    assert one.path != Lessons(phonemes=(LETTERS, "")).path


def test_items_of_any_length_are_stacked_with_zeros_after_the_end() -> None:
    found = joined([np.ones((1, 2, 3), "u1"), np.ones((2, 4, 3), "u1")])
    assert found.shape == (3, 4, 3)
    assert (found[0, :2].sum(), found[0, 2:].sum(), found[1:].sum()) == (6, 0, 24)
