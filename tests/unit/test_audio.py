"""Sound in pieces, and letters of sound in pieces that can be said."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.audio.pieces import LONGEST_SECONDS, pieces
from services.gateway.openai.speech import LONGEST, sayable

RATE = 100
LEVELS = st.lists(st.sampled_from([0.0, 0.1, 1.0]), min_size=1, max_size=200)


@settings(deadline=None)
@given(LEVELS)
def test_pieces_are_all_of_the_sound_in_order(levels: list[float]) -> None:
    samples = np.repeat(np.array(levels, "f4"), RATE // 2)
    found = list(pieces(samples, RATE))
    assert sum(float(np.abs(each.samples).sum()) for each in found) == float(np.abs(samples).sum())
    for each in found:
        assert 0 < len(each.samples) <= LONGEST_SECONDS * RATE
        np.testing.assert_array_equal(each.samples, samples[round(each.start * RATE) : round(each.end * RATE)])
    assert [each.start for each in found] == sorted(each.start for each in found)


def test_sound_is_divided_where_it_is_quiet() -> None:
    samples = np.ones(60 * RATE, "f4")
    samples[2400:2420] = 0.01
    first, second, third = pieces(samples, RATE)
    assert 24.0 <= first.end == second.start <= 24.2
    assert second.end == third.start and third.end == 60


@given(st.lists(st.text(st.sampled_from("aəˈ, ;."), max_size=900), max_size=3))
def test_sentences_become_short_and_lose_no_letter(sentences: list[str]) -> None:
    found = list(sayable(sentences))
    assert all(len(each) <= LONGEST for each in found)
    assert "".join("".join(found).split()) == "".join("".join(sentences).split())
