"""What a subject line says of its mail's sentences, and what a mail's author wrote himself."""

import numpy as np
import pytest
import torch

from library.base import Part
from library.data.subject_lines import SubjectLines, is_whole, telling_of, words_of
from library.graphs.cuts import LETTERS, sentences
from library.graphs.front import through
from library.members.summarizer import Summarizer
from library.networks.telling import NEVER, Telling
from library.sources.mail_text import own_words, quoted_words

pytestmark = pytest.mark.library
MAIL = """Hi all,

On Monday, Ann
 wrote:
> The server is down.
>> Since when?
I restarted it.
--
Bob, keeper of the server
"""
TEXTS = ["Hi. The server moves on Friday. Mail waits a day then. Is that fine with you? Bob", "One two three four."]


def test_quotes_and_signatures_are_not_the_authors_words() -> None:
    assert own_words(MAIL).split() == ["Hi", "all,", "I", "restarted", "it."]
    assert quoted_words(MAIL) == ["the", "server", "is", "down", "since", "when"]


def test_sentences_with_half_of_the_words_of_the_subject_tell() -> None:
    assert words_of("Re: the Servers' moving dates!") == {"server", "moving", "dates"}
    cut = ["Hi all,", "The server is moving on Friday.", "Bye.", "It is late now, sorry.", "Moving server"]
    assert telling_of(cut, "server moving dates") == [1]
    assert telling_of(cut[:4], "server moving dates") == []


def test_no_subject_is_in_two_parts_and_each_has_something_telling() -> None:
    parts = SubjectLines().parts()
    texts = [set(parts[part]["text"].tolist()) for part in Part]
    assert sum(map(len, texts)) == len(set.union(*texts))
    for part in Part:
        assert (parts[part]["telling"][:, 0] >= 0).all()


def test_what_is_no_whole_sentence_is_never_told() -> None:
    letters = torch.from_numpy(through(sentences("text", 9, 60), {"text": np.array(TEXTS, object)})[LETTERS])
    torch.manual_seed(0)
    network = Telling(8, 0.0).eval()
    network.measure(letters)
    scores = network(letters)
    whole = [is_whole(each) for each in ("Hi.", "The server moves on Friday.", "Mail waits a day then.")]
    assert (scores[0, :3] > NEVER).tolist() == whole == [False, True, True]
    assert (scores[1] > NEVER).tolist() == [True, False, False, False, False]
    assert torch.isfinite(network.features(letters)[0]).all()


def test_the_baseline_leaves_greetings_out() -> None:
    outputs = Summarizer().baseline_outputs({}, {"text": np.array([text.encode() for text in TEXTS])})
    assert outputs[:, :4].tolist() == [[1, 2, 3, -1], [0, -1, -1, -1]]
