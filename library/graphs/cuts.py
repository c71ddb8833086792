"""Fronts that cut text into words, and into sentences of words, and give the words' letters as numbers."""

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from library.graphs.front import CONTRIB, through
from library.graphs.nodes import Nodes

LETTERS: Final = "letters"
CUT: Final = "cut"
LONGEST: Final = 16
OTHER: Final = 127
NUMBERS: Final = {"": 0} | {chr(point): point for point in range(1, OTHER)}
SPACES: Final = " \t\n\r\f"
WORD: Final = r"[\pL\pN]+|[^\s\pL\pN]"
WORD_OR_MARKS: Final = r"[\pL\pN]+|[^\s\pL\pN]+"
SPACED_WORD: Final = rf"\s*(?:{WORD})"

CLOSING: Final = r"[\"')\]]*"
SPACE: Final = r"(?:[ \t\r\f]+\n?[ \t\r\f]*|\n[ \t\r\f]*)"
SHORT: Final = r"[\"'(]*(?:Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e|[A-Z])\."
INNER: Final = rf"(?:\S*[^\s.!?\"')\]]{CLOSING}|{SHORT})"
LAST: Final = rf"\S*[.!?]{CLOSING}"
SENTENCE: Final = rf"(?:{INNER}{SPACE})*(?:{INNER}|{LAST})"
"""Words up to one that ends with a mark, or to an empty line; the tokenizer takes the longest run that fits."""


@cache
def spaced_words(name: str, most: int) -> onnx.ModelProto:
    """Text [batch] to LETTERS of its words [batch, n, LONGEST], and to CUT, the words with the space before them
    [batch, n], which together are the text; marks are words of their own, and n is 1 at least.
    """
    make = Nodes()
    cut, bare = (_some(make, _split(make, name, pattern), most) for pattern in (SPACED_WORD, WORD))
    make.give(_letters(make, bare), LETTERS)
    make.give(cut, CUT)
    made = {LETTERS: (TensorProto.UINT8, ["batch", "words", LONGEST]), CUT: (TensorProto.STRING, ["batch", "words"])}
    return make.model({name: (TensorProto.STRING, ["batch"])}, made)


@cache
def sentences(name: str, most: int, words: int) -> onnx.ModelProto:
    """Text [batch] to LETTERS of the words of its sentences [batch, s, n, LONGEST], and to CUT, the sentences
    [batch, s]; marks in a row are one word, and n and s are 1 at least.
    """
    make = Nodes()
    cut = _some(make, _split(make, name, SENTENCE), most)
    bare = _some(make, _split(make, make("Reshape", cut, [-1]), WORD_OR_MARKS), words)
    spread = _letters(make, bare)
    shape = make("Concat", make("Shape", cut), make("Shape", spread, start=1), axis=0)
    make.give(make("Reshape", spread, shape), LETTERS)
    make.give(cut, CUT)
    sizes = ["batch", "sentences", "words", LONGEST]
    made = {LETTERS: (TensorProto.UINT8, sizes), CUT: (TensorProto.STRING, sizes[:2])}
    return make.model({name: (TensorProto.STRING, ["batch"])}, made)


def pieces_of(texts: Sequence[str], pattern: str, most: int) -> list[list[str]]:
    """What of each text fits the pattern, as the graphs here cut it."""
    make = Nodes()
    make.give(_some(make, _split(make, "text", pattern), most), CUT)
    ends = {"text": (TensorProto.STRING, ["batch"])}, {CUT: (TensorProto.STRING, ["batch", "pieces"])}
    found = through(make.model(*ends), {"text": np.array(texts, object)})[CUT]
    return [[piece for piece in row if piece] for row in found.tolist()]


@cache
def cut_as(name: str) -> onnx.ModelProto:
    """A back that gives what was CUT by this name [batch, n]."""
    make = Nodes("back")
    make.give(CUT, name)
    kind = (TensorProto.STRING, ["batch", "pieces"])
    return make.model({CUT: kind}, {name: kind})


@cache
def told(numbers: str, sentences: str, text: str, count: int, most: int) -> onnx.ModelProto:
    """A back that gives sentences by their numbers [batch, count], -1 for none, and the first `most` as a text [batch],
    in the order in which they stand in what was CUT.
    """
    make = Nodes("back")
    rows = make("Concat", make("Shape", CUT, start=0, end=1), [1], axis=0)
    there = make("Concat", CUT, make("Expand", np.array([""], object), rows), axis=1)
    best = make("Slice", numbers, [0], [most], [1])
    make.nodes.append(
        helper.make_node("TopK", [best, make.constant([most])], ["back_sorted", "back_places"], largest=0)
    )
    found = ""
    for place in range(most):
        piece = make("Gather", make("GatherElements", there, "back_sorted", axis=1), np.array(place), axis=1)
        space = (
            make("Where", make("Equal", found, np.array("", object)), np.array("", object), np.array(" ", object))
            if found
            else ""
        )
        found = make("StringConcat", make("StringConcat", found, space), piece) if found else piece
    make.give(make("GatherElements", there, numbers, axis=1), sentences)
    make.give(found, text)
    some = ["batch", count]
    taken = {numbers: (TensorProto.INT64, some), CUT: (TensorProto.STRING, ["batch", "pieces"])}
    return make.model(taken, {sentences: (TensorProto.STRING, some), text: (TensorProto.STRING, ["batch"])})


def _split(make: Nodes, text: str, pattern: str) -> str:
    """Text [batch] to what of it fits the pattern [batch, n], "" where a row has no more."""
    return make.told("Tokenizer", text, domain=CONTRIB, mark=0, pad_value="", mincharnum=1, tokenexp=pattern)


def _some(make: Nodes, pieces: str, most: int) -> str:
    """The first `most` pieces of each row; one, of no letter, where no row has any."""
    count = make("Max", make("Shape", pieces, start=1, end=2), [1])
    rows = make("Concat", make("Shape", pieces, start=0, end=1), [1], axis=0)
    never_empty = make("Concat", pieces, make("Expand", np.array([""], object), rows), axis=1)
    return make("Slice", never_empty, [0], make("Min", count, [most]), [1])


def _letters(make: Nodes, words: str) -> str:
    """Words [batch, n] to numbers of their first letters [batch, n, LONGEST], UINT8: of ASCII its own, else OTHER."""
    how = {"separators": [""], "mark": 0, "pad_value": "", "mincharnum": 1}
    found = make.looked_up(make.told("Tokenizer", words, domain=CONTRIB, axes=3, **how), NUMBERS, OTHER)
    padded = make("Pad", found, [0, 0, 0, 0, 0, LONGEST])
    return make("Cast", make("Slice", padded, [0], [LONGEST], [2]), to=TensorProto.UINT8)
