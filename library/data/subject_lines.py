"""Mails that begin a thread, and which of their sentences say what the subject line says."""

import email
import re
from functools import cache
from typing import TYPE_CHECKING, Final

from library.base import DataSet, Feature, Part, Schema, Split
from library.data.mails import PREFIXES, Mails, bodies_of, subject_of
from library.sources.mail_text import own_words

if TYPE_CHECKING:
    from library.base import Arrays

SENTENCES: Final = (5, 60)
MOST_LETTERS: Final = 10_000
MOST_TOLD: Final = 30
LEAST_WORDS: Final = 4
LEAST_SHARE: Final = 0.5
ANSWER: Final = re.compile(r"\s*(?:\[[^\]]*\]\s*)?(?:re|fwd?|aw)\s*:", re.IGNORECASE)
ALIKE: Final = 6


class SubjectLines(DataSet):
    """Its author says in a few words what a mail is about: sentences with half of these words or more tell most of it.

    Mails of one subject go to one part. Left out are answers, subjects of fewer than two words that carry meaning, and
    mails of which more than half of the sentences, or none, say so much.
    """

    name = "subject-lines"
    source = Mails.source
    licence = Mails.licence
    schema = Schema(
        features=(
            Feature(
                name="text",
                datatype="BYTES",
                description="what the author wrote, without the subject: 5 to 60 sentences; UTF-8",
            ),
        ),
        target=Feature(
            name="telling",
            datatype="INT64",
            shape=(MOST_TOLD,),
            minimum=-1,
            maximum=SENTENCES[1] - 1,
            description="numbers of the sentences with half of the subject's words or more, from 0, in order; then -1",
        ),
    )
    split = Split(train=0.55, validation=0.15)
    archives = Mails.archives

    def load(self) -> "Arrays":
        import numpy as np

        rows = _rows()
        numbers = np.full((len(rows), MOST_TOLD), -1, "<i8")
        for row, (_, _, telling) in zip(numbers, rows, strict=True):
            row[: len(telling)] = telling
        return {"text": np.array([text.encode() for _, text, _ in rows], "S"), "telling": numbers}

    def parts(self) -> "dict[Part, Arrays]":
        import numpy as np

        from library.sources.split import by_group

        return by_group(self.load(), np.array([subject for subject, _, _ in _rows()]), self.split)


@cache
def _rows() -> list[tuple[str, str, list[int]]]:
    """Subject, text, and numbers of the sentences that tell most of the subject; read once a process."""
    pairs = {text: subject for subject, text in _mails() if len(words_of(subject)) > 1 and len(text) <= MOST_LETTERS}
    cut = sentences_of([*pairs])
    rows = ((subject, text, telling_of(row, subject)) for (text, subject), row in zip(pairs.items(), cut, strict=True))
    return [row for row in rows if row[2]]


def _mails() -> list[tuple[str, str]]:
    """Subject in small letters and text of each mail of people that answers none."""
    found = []
    for name, content in sorted(Mails().messages()):
        mail = email.message_from_bytes(content) if "/spam-" not in name else None
        if mail is not None and not ANSWER.match(subject := subject_of(mail)):
            text = own_words("\n".join(bodies_of(mail)).replace("\0", " ")).strip()
            found.append((PREFIXES.sub("", subject).strip().lower(), text))
    return found


def sentences_of(texts: list[str]) -> list[list[str]]:
    """As the served graph cuts them."""
    from library.graphs.cuts import SENTENCE, pieces_of

    return pieces_of(texts, SENTENCE, SENTENCES[1] + 1)


def telling_of(sentences: list[str], subject: str) -> list[int]:
    """Numbers of the sentences with half of the subject's words; none of a text that is too short or too long, or where
    more than half of the sentences have them.
    """
    wanted = words_of(subject)
    shares = [len(words_of(sentence) & wanted) / len(wanted) for sentence in sentences]
    found = [number for number, share in enumerate(shares) if share >= LEAST_SHARE and is_whole(sentences[number])]
    fits = SENTENCES[0] <= len(sentences) <= SENTENCES[1] and len(found) <= len(sentences) / 2
    return found if fits else []


def words_of(text: str) -> set[str]:
    """The first six letters of the words that carry meaning: those of a word's forms are often the same."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    words = re.findall(r"[a-z0-9]{3,}", text.lower())
    return {word[:ALIKE] for word in words if word not in ENGLISH_STOP_WORDS}


def is_whole(sentence: str) -> bool:
    """Whether it has so many words that it is more than a greeting or a name."""
    return len(re.findall(r"[^\W_]+", sentence)) >= LEAST_WORDS
