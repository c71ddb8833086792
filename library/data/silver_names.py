"""Sentences of newspapers, films, tweets and mails, with the names that a small model of spaCy finds in them."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar, Final

from library.base import DataSet, Feature, Part, Schema
from library.data.mails import Mails, thread_of
from library.data.opinions import Topics
from library.sources.mail_text import own_words
from library.teacher.names import KINDS, Names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays
    from library.sources.archives import Tell

MOST_WORDS: Final = 64
LEAST_WORDS: Final = 4
MOST_SENTENCES: Final = 200
FEW: Final = slice(200, 300)
PROSE: Final = re.compile(r"[\"'(]?[A-Z].*[.!?][\"')]*")
SHARE_OF_LETTERS: Final = 0.9
NAMED: Final = ("person", "organisation", "place", "group", "date", "money")
KINDS_OF_TEACHER: Final = (0, 1, 2, 2, 3, 4, 5)
assert len(KINDS_OF_TEACHER) == len(KINDS)


class SilverNames(DataSet):
    """Silver, not gold: what is learnt and measured here is to agree with the teacher, which errs.

    Whole reviews, articles and threads of mails go to one part.
    """

    name = "silver-names"
    source = f"{Topics.source}; {Mails.source}; names: en_core_web_sm 3.8.0 of spaCy (Explosion), run here"
    licence = "MIT (of the sentences and of the teacher); Apache-2.0 (of the mails' package)"
    labels: ClassVar[tuple[str, ...]] = ("O", *(f"{place}-{kind}" for kind in NAMED for place in "BI"))
    schema = Schema(
        features=(Feature(name="text", datatype="BYTES", description="a sentence in English; UTF-8"),),
        target=Feature(
            name="tags",
            datatype="INT64",
            shape=(MOST_WORDS,),
            minimum=0,
            maximum=2 * len(NAMED),
            description="for each word or mark the number of its label: O no name, B the first word of one, I another; "
            "0 after the last",
        ),
    )
    archives = (*Topics.archives, *Mails.archives)
    silver: ClassVar[dict[str, Names]] = {
        "few": Names(
            title="newspapers",
            texts="9b72516e4f8ad0553e56a816e39f59ec407a33ff23150799586638efa52eb065",
            sha256="5bd161ffe706618ecbbfcbc61a09366bbc87069f5abf7ee8552385e9686fe70e",
        ),
        "newspaper": Names(
            title="newspapers",
            texts="83944f4e1c43a66a9010e2a58f046131a2d120d5a25a638dca612baf99333cd0",
            sha256="cf252d90cc55c93303bac76d445715e6b481e36cbe4db9959ecca5eed434a708",
        ),
        "film": Names(
            title="films",
            texts="25af93faa3f294632d1aee722a6c376ff2156e74e2093aabcf8c7967b47e004b",
            sha256="50061fc8b3093c39b4886cca342e73e88b0a563ff449d15b4b42cebc97cbe92f",
        ),
        "tweet": Names(
            title="tweets",
            texts="863b89fe09cc3df02d67d791be4ab7254cae11086e1ac88b612ed187a30570fc",
            sha256="731b163500f69939e7a1290b1bc5a60a8320dd0200ac9e43a431250ae4e39432",
        ),
        "mail": Names(
            title="mails",
            texts="e173f86e289c8be8bd2d511571a800ac0afcdbbf20bd565b1493a147a8d06f08",
            sha256="2c7ebab36d38557700614ab8100d45a2cf414e2da74d4143d3583d863a1f4220",
        ),
    }

    def fetch(self, tell: "Tell") -> None:
        super().fetch(tell)
        for kind, names in self.silver.items():
            names.read([text for _, text in texts_of(kind)], tell)

    def load(self) -> "Arrays":
        import numpy as np

        parts = list(self.parts().values())
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def parts(self) -> "dict[Part, Arrays]":
        """Each source is divided by itself, so that the few are in the same parts."""
        import numpy as np

        divided = [self._parts_of(kind) for kind in self.silver]
        columns = ("text", "tags")
        return {
            part: {name: np.concatenate([each[part][name] for each in divided]) for name in columns} for part in Part
        }

    def few_parts(self) -> "dict[Part, Arrays]":
        return self._parts_of("few")

    def _parts_of(self, kind: str) -> "dict[Part, Arrays]":
        import numpy as np

        from library.sources.split import by_group

        groups, texts = zip(*texts_of(kind), strict=True)
        items = {"text": np.array([text.encode() for text in texts], "S"), "tags": tags_of(texts, self.silver[kind])}
        return by_group(items, np.array(groups), self.split)


@cache
def texts_of(kind: str) -> tuple[tuple[str, str], ...]:
    """Groups and texts of a source, those of MOST_WORDS at most, each text once; `few` are those of some newspapers,
    with names of all kinds in each part.
    """
    found = _mails() if kind == "mail" else _snippets("newspaper" if kind == "few" else kind)
    if kind in ("few", "newspaper"):
        few = [*dict.fromkeys(group for group, _ in found)][FEW]
        found = [row for row in found if (row[0] in few) == (kind == "few")]
    own = {text: group for group, text in reversed(found)}
    fits = {text for text, words in zip(own, words_of([*own]), strict=True) if LEAST_WORDS <= len(words) <= MOST_WORDS}
    return tuple((group, text) for text, group in reversed(own.items()) if text in fits)


def _snippets(kind: str) -> list[tuple[str, str]]:
    rows = Topics().rows()
    return [(number.partition("_")[0], text.decode("utf-8", "ignore")) for of, number, _, text in rows if of == kind]


def _mails() -> list[tuple[str, str]]:
    """Sentences of ham that look like prose and are in one mail alone, which leaves out what lists add to each."""
    from library.graphs.cuts import SENTENCE, pieces_of

    items = Mails().load()
    ham = [text for text, kind in zip(items["text"].tolist(), items["kind"].tolist(), strict=True) if not kind]
    found = pieces_of([own_words(text.decode().partition("\n")[2]) for text in ham], SENTENCE, MOST_SENTENCES)
    cut = [(thread_of(text), " ".join(piece.split())) for text, row in zip(ham, found, strict=True) for piece in row]
    times = Counter(piece for _, piece in cut)
    return [(thread, piece) for thread, piece in cut if times[piece] == 1 and _is_prose(piece)]


def _is_prose(text: str) -> bool:
    letters = sum(letter.isalpha() or letter == " " for letter in text)
    return bool(PROSE.fullmatch(text)) and letters >= SHARE_OF_LETTERS * len(text) and "http" not in text


def words_of(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text with the space before them, as the served graph cuts it."""
    from library.graphs.cuts import SPACED_WORD, pieces_of

    return pieces_of(texts, SPACED_WORD, MOST_WORDS + 1)


def tags_of(texts: Sequence[str], silver: Names) -> "NDArray[Any]":
    """What the teacher says of these texts [texts, MOST_WORDS]; words that a name only begins or ends in are none."""
    import numpy as np

    words = words_of(texts)
    tags = np.zeros((len(texts), MOST_WORDS), "<i8")
    for text, start, end, kind in zip(*silver.read(texts).values(), strict=True):
        label = 1 + 2 * KINDS_OF_TEACHER[kind]
        for place in _within(words[text], start, end):
            tags[text, place] = label
            label += label % 2
    return tags


def _within(words: list[str], start: int, end: int) -> list[int]:
    """The places of the words between two letters of their text."""
    from library.graphs.cuts import SPACES

    ends = [*accumulate(map(len, words))]
    begins = [stop - len(word.lstrip(SPACES)) for word, stop in zip(words, ends, strict=True)]
    return [place for place, pair in enumerate(zip(begins, ends, strict=True)) if start <= pair[0] and pair[1] <= end]
