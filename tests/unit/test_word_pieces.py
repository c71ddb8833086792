"""Text is cut inside the graph as a slow WordPiece in Python cuts it, and as the `tokenizers` package did."""

import unicodedata
from functools import cache

import numpy as np
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st

import library
from library.base import Part
from library.graphs.word_pieces import IDEOGRAPHS, LONGEST_WORD, PLANES, UNKNOWN, word_pieces
from library.members.sentence_embedder import MOST_LETTERS, MOST_PIECES, pieces_front, vocabulary

SMALL = (
    "[PAD]",
    UNKNOWN,
    "[CLS]",
    "[SEP]",
    "a",
    "ab",
    "abba",
    "b",
    "##a",
    "##b",
    "##ba",
    "e",
    "##e",
    ".",
    "中",
    "ᄒ",
    "##ᅡ",
)
READ_BEFORE = {
    "Hello, World! It's unaffable.": [7592, 1010, 2088, 999, 2009, 1005, 1055, 14477, 20961, 3468, 1012],
    "Hyvää päivää 中文 한국어": [1044, 2100, 3567, 2050, 6643, 11444, 2050, 1746, 1861, 1469, 30006, 30021, 29991]
    + [30014, 30020, 29999, 30008],
    "😀 good😀": [100, 100],
    "": [],
}
"""What tokenizers 0.21.0 makes of texts by the file that comes with the weights, without beginning and end."""


@cache
def session(small: bool) -> onnxruntime.InferenceSession:
    front = word_pieces("text", SMALL, 12, 40) if small else pieces_front("text", MOST_PIECES)
    return onnxruntime.InferenceSession(front.SerializeToString(), providers=["CPUExecutionProvider"])


def in_graph(texts: list[str], *, small: bool = False) -> list[list[int]]:
    (rows,) = session(small).run(None, {"text": np.array(texts, object)})
    return [[number for number in row if number] for row in rows.tolist()]


def by_hand(text: str, pieces: tuple[str, ...], most: int, letters: int) -> list[int]:
    numbers = numbers_of(pieces)
    found = [number for word in words(text[:letters]) for number in cut(word, numbers)]
    return [pieces.index("[CLS]"), *found[: most - 2], pieces.index("[SEP]")]


@cache
def numbers_of(pieces: tuple[str, ...]) -> dict[str, int]:
    return {piece: number for number, piece in enumerate(pieces)}


def words(text: str) -> list[str]:
    """Small letters without accents; marks and ideographs by themselves."""
    kept = [" " if letter in "\t\n\r" else letter for letter in text if is_kept(letter)]
    plain = unicodedata.normalize("NFD", "".join(f" {letter} " if is_ideograph(letter) else letter for letter in kept))
    small = "".join(letter.lower() for letter in plain if unicodedata.category(letter) != "Mn")
    return "".join(f" {letter} " if is_mark(letter) else letter for letter in small).split()


def is_kept(letter: str) -> bool:
    return letter in "\t\n\r" or (letter != "\ufffd" and unicodedata.category(letter) not in ("Cc", "Cf", "Co"))


def is_mark(letter: str) -> bool:
    return unicodedata.category(letter).startswith("P") or (33 <= ord(letter) < 127 and not letter.isalnum())


def is_ideograph(letter: str) -> bool:
    return any(first <= ord(letter) <= last for first, last in IDEOGRAPHS)


def cut(word: str, numbers: dict[str, int]) -> list[int]:
    """The longest piece, then the longest of what is left."""
    found, start = [], 0
    while start < len(word):
        ends = range(len(word), start, -1)
        names = (("##" if start else "") + word[start:end] for end in ends)
        piece = next((name for name in names if name in numbers), "")
        if not piece or len(word) > LONGEST_WORD:
            return [numbers[UNKNOWN]]
        found.append(numbers[piece])
        start += len(piece.removeprefix("##") if start else piece)
    return found


def test_texts_are_cut_as_another_program_cut_them() -> None:
    assert in_graph([*READ_BEFORE]) == [[101, *numbers, 102] for numbers in READ_BEFORE.values()]


def test_sentences_and_mails_are_cut_as_by_hand() -> None:
    texts = [text.decode() for text in library.data_set("topics").parts()[Part.VALIDATION]["text"][::25]]
    texts += ["x" * 100 + " y", "x" * 101 + " y", " ".join(texts)[:6000], "ab" * 50, "a" * 5000]
    expected = [by_hand(text, vocabulary(), MOST_PIECES, MOST_LETTERS) for text in texts]
    assert in_graph(texts) == expected
    assert max(map(len, expected)) == MOST_PIECES


few = st.text("ab éE.,中\u0301\u200b\n한하xß", max_size=60)
any_letters = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs", "Cn"]), max_size=60)


@settings(max_examples=50)
@given(st.lists(few | any_letters, min_size=1, max_size=8))
def test_any_texts_are_cut_as_by_hand(texts: list[str]) -> None:
    texts = [text for text in texts if all(any(ord(letter) in plane for plane in PLANES) for letter in text)] or [""]
    assert in_graph(texts, small=True) == [by_hand(text, SMALL, 12, 40) for text in texts]


@settings(max_examples=20)
@given(st.lists(any_letters, min_size=1, max_size=4))
def test_any_texts_are_cut_as_by_hand_by_the_whole_vocabulary(texts: list[str]) -> None:
    texts = [text for text in texts if all(any(ord(letter) in plane for plane in PLANES) for letter in text)] or [""]
    assert in_graph(texts) == [by_hand(text, vocabulary(), MOST_PIECES, MOST_LETTERS) for text in texts]


def test_rows_do_not_depend_on_their_neighbours() -> None:
    texts = ["a ab", "", "abba.b " * 9, "中"]
    assert in_graph(texts * 3, small=True) == [row for text in texts for row in in_graph([text], small=True)] * 3
