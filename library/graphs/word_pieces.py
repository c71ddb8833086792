"""A front that cuts text into the word pieces of a BERT vocabulary, inside the graph.

Letters become numbers, a piece the hash of its letters' numbers, and a walk from piece to piece a pointer that is
doubled: no loop, and the work of a row grows with its length alone. WordPiece: Wu et al., Google's Neural Machine
Translation System, 2016; pointer doubling: Wyllie, The Complexity of Parallel Computations, 1979.
"""

import unicodedata
from functools import cache
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from library.graphs.front import CONTRIB, IR_VERSION, OPSET, TOKENS
from library.graphs.nodes import ML, Nodes

UNKNOWN, BEGIN, END = "[UNK]", "[CLS]", "[SEP]"
INSIDE: Final = "##"
LONGEST_WORD: Final = 100
ROUNDS: Final = 7  # 2 to this power pieces, which no word of LONGEST_WORD letters has
NOTHING, SPACE, LETTER, ALONE, FIRST = range(5)
"""Numbers of letters: none, a space, one that no piece has, such a one that is a word, then those of pieces."""

IDEOGRAPHS = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0xF900, 0xFAFF), (0x20000, 0x2FA1F))
PLANES = (range(1, 0xD800), range(0xE000, 0x20000), range(0xE0000, 0xE0200))


@cache
def word_pieces(name: str, vocabulary: tuple[str, ...], most: int, letters: int) -> onnx.ModelProto:
    """Text [batch] to the numbers of its pieces in the vocabulary [batch, n], INT64, from BEGIN to END, then 0.

    Of a text its first `letters` are read, and its first `most` pieces are given. As the `uncased` tokenizers of BERT
    do, letters become small and lose accents, punctuation marks and ideographs are words of their own, and a word that
    pieces cannot make is UNKNOWN. Other than there `[SEP]` in a text is text, and letters that are for private use, or
    ideographs beyond the first two planes, are unknown letters.
    """
    numbers = {piece: number for number, piece in enumerate(vocabulary)}
    alphabet = {letter: FIRST + place for place, letter in enumerate(sorted(set("".join(vocabulary))))}
    make = Nodes()
    codes = _codes(make, name, alphabet, letters)
    starts, inside = _words(make, codes, _alone(alphabet))
    pieces, lengths = _longest(make, codes, (starts, inside), _Hashes(numbers, alphabet))
    reached = _walked(make, starts, inside, lengths)
    unknown = _unmade(make, starts, inside, lengths, reached)
    chosen = make("Where", unknown, make("Mul", starts, numbers[UNKNOWN]), make("Mul", reached, pieces))
    ended = _ended(make, make("Mul", chosen, inside), most, numbers)
    make.nodes.append(helper.make_node("Identity", [ended], [TOKENS]))
    return _model(make, name)


def _codes(make: Nodes, name: str, alphabet: dict[str, int], letters: int) -> str:
    """Numbers of letters [batch, n] as they are after normalisation: one letter may become none, or up to three."""
    how: dict[str, Any] = {"separators": [""], "mark": 0, "pad_value": "", "mincharnum": 1}
    cut = make("Slice", make.told("Tokenizer", name, domain=CONTRIB, **how), [0], [letters], [1])
    places, table = _normalisation(tuple(alphabet.items()))
    spread = make("Gather", table, make.looked_up(cut, places, LETTER))
    return make.gathered(make("Reshape", spread, [0, -1]))


def _words(make: Nodes, codes: str, alone: list[int]) -> tuple[str, str]:
    """1 where a word starts, and 1 where there is a word, [batch, n] each."""
    inside = make.number(make("Greater", codes, SPACE))
    before = make("Slice", make("Pad", codes, [0, 1, 0, 0], SPACE), [0], [-1], [1])
    by_itself, after = (make("Gather", alone, given) for given in (codes, before))
    begins = make("Max", make("Max", by_itself, after), make.number(make("LessOrEqual", before, SPACE)))
    return make("Mul", begins, inside), inside


def _longest(make: Nodes, codes: str, words: tuple[str, str], hashes: "_Hashes") -> tuple[str, str]:
    """Number and length of the longest piece that begins at each letter; 0 where none does."""
    starts, inside = words
    size = len(hashes.factors)
    stops = make("Max", starts, make("Sub", 1, inside))
    seen, broken = (_windows(make, given, size, edge) for given, edge in ((codes, 0), (stops, 1)))
    sums = make("CumSum", make("Mul", seen, hashes.factors), 2)
    keys = make("Add", sums, make("Mul", make("Unsqueeze", make("Sub", 1, starts), [2]), hashes.inside))
    within = make("CumSum", make("Mul", broken, [0] + [1] * (size - 1)), 2)
    found = make.looked_up(make("Where", make("Greater", within, 0), 0, keys), hashes.numbers, 0)
    fitting = make("Mul", make.number(make("Greater", found, 0)), [*range(1, size + 1)])
    lengths = make("ReduceMax", fitting, [2], keepdims=1)
    piece = make("GatherElements", found, make("Max", make("Sub", lengths, 1), 0), axis=2)
    return make("Squeeze", piece, [2]), make("Squeeze", lengths, [2])


def _windows(make: Nodes, given: str, size: int, edge: int) -> str:
    """[batch, n] to [batch, n, size]: each place and those after it."""
    places = make("Unsqueeze", _places(make, given), [1])
    return make("Gather", make("Pad", given, [0, 0, 0, size], edge), make("Add", places, [*range(size)]), axis=1)


def _places(make: Nodes, given: str) -> str:
    """0 to n - 1."""
    return make("Range", 0, make("Squeeze", make("Shape", given, start=1)), 1)


def _walked(make: Nodes, starts: str, inside: str, lengths: str) -> str:
    """1 where one comes from the start of a word by the longest piece each time; whoever cannot go on goes to a place
    beyond the row.
    """
    beyond = make("Shape", starts, start=1)
    stops = make("Pad", make("Max", starts, make("Sub", 1, inside)), [0, 0, 0, 1], 1)
    after = make("Add", _places(make, starts), lengths)
    stays = make("Max", make("GatherElements", stops, after, axis=1), make.number(make("Equal", lengths, 0)))
    there = make("Where", make("Greater", stays, 0), beyond, after)
    pointer = make("Concat", there, make("Expand", beyond, _column(make, starts)), axis=1)
    reached = make("Pad", starts, [0, 0, 0, 1])
    for _ in range(ROUNDS):
        reached = make("ScatterElements", reached, pointer, reached, axis=1, reduction="max")
        pointer = make("GatherElements", pointer, pointer, axis=1)
    return make("Slice", reached, [0], [-1], [1])


def _column(make: Nodes, given: str) -> str:
    """The shape [batch, 1]."""
    return make("Concat", make("Shape", given, start=0, end=1), [1], axis=0)


def _unmade(make: Nodes, starts: str, inside: str, lengths: str, reached: str) -> str:
    """Whether each letter's word is too long, or comes to a place where no piece begins."""
    stuck = make("Mul", make("Mul", reached, inside), make.number(make("Equal", lengths, 0)))
    word = make("CumSum", starts, 1)
    room = make("Pad", make("Mul", starts, 0), [0, 0, 0, 1])
    stuck = make("ScatterElements", room, word, stuck, axis=1, reduction="max")
    sizes = make("ScatterElements", room, word, inside, axis=1, reduction="add")
    wrong = make("Max", stuck, make.number(make("Greater", sizes, LONGEST_WORD)))
    return make("Greater", make("GatherElements", wrong, word, axis=1), 0)


def _ended(make: Nodes, chosen: str, most: int, numbers: dict[str, int]) -> str:
    """With what marks the beginning and the end of each row, `most` in all."""
    kept = make("Slice", make.gathered(chosen), [0], [most - 2], [1])
    rows = make("Pad", make("Pad", kept, [0, 1, 0, 0], numbers[BEGIN]), [0, 0, 0, 1])
    last = make("ReduceSum", make.number(make("Greater", rows, 0)), [1], keepdims=1)
    end = make("Expand", [numbers[END]], _column(make, rows))
    marked = make("ScatterElements", rows, last, end, axis=1)
    longest = make("Add", make("ReduceMax", last, keepdims=0), [1])
    return make("Slice", marked, [0], longest, [1])


class _Hashes:
    """Pieces by the sums of their letters' numbers times factors, all below 2^63; `inside` is added within a word."""

    def __init__(self, numbers: dict[str, int], alphabet: dict[str, int]) -> None:
        longest = max(len(piece.removeprefix(INSIDE)) for piece in numbers)
        room = 2**62 // ((longest + 1) * (FIRST + len(alphabet)))
        *self.factors, self.inside = np.random.RandomState(0).randint(room, size=longest + 1, dtype="i8").tolist()
        keys = [self._key(piece, alphabet) for piece in numbers]
        self.numbers = dict(zip(keys, numbers.values(), strict=True))
        assert len(self.numbers) == len(numbers), "two pieces have the same hash"

    def _key(self, piece: str, alphabet: dict[str, int]) -> int:
        letters = piece.removeprefix(INSIDE) or piece
        found: int = sum(alphabet[letter] * factor for letter, factor in zip(letters, self.factors, strict=False))
        return found + int(self.inside) * (piece != letters)


def _alone(alphabet: dict[str, int]) -> list[int]:
    """By number: 1 for a letter that is a word of its own."""
    return [0, 0, 0, 1, *(int(_is_alone(letter)) for letter in alphabet)]


def _is_alone(letter: str) -> bool:
    is_mark = unicodedata.category(letter)[0] == "P" or (letter.isascii() and not letter.isalnum())
    return is_mark or _is_ideograph(letter)


def _is_ideograph(letter: str) -> bool:
    return any(first <= ord(letter) <= last for first, last in IDEOGRAPHS)


@cache
def _normalisation(alphabet: tuple[tuple[str, int], ...]) -> tuple[dict[str, int], list[list[int]]]:
    """Letters to rows of a table, and the table [rows, 3]: the numbers of what a letter becomes."""
    known = dict(alphabet)
    table: dict[tuple[int, ...], int] = {(NOTHING, 0, 0): NOTHING, (SPACE, 0, 0): SPACE, (LETTER, 0, 0): LETTER}
    rows = {"": NOTHING}
    for letter in (chr(point) for plane in PLANES for point in plane):
        codes = _becomes(letter, known)
        if codes[:1] != [LETTER]:
            rows[letter] = table.setdefault((*codes, 0, 0, 0)[:3], len(table))
    return rows, [*map(list, table)]


def _becomes(letter: str, known: dict[str, int]) -> list[int]:
    kind = unicodedata.category(letter)
    if letter in "\t\n\r" or kind[0] == "Z":
        return [SPACE]
    if kind in ("Cc", "Cf", "Co") or letter == "\ufffd":
        return []
    parts = (part.lower() for part in unicodedata.normalize("NFD", letter) if unicodedata.category(part) != "Mn")
    return [known.get(part, ALONE if _is_alone(part) else LETTER) for part in parts]


def _model(make: Nodes, name: str) -> onnx.ModelProto:
    given = helper.make_tensor_value_info(name, TensorProto.STRING, ["batch"])
    made = helper.make_tensor_value_info(TOKENS, TensorProto.INT64, ["batch", "length"])
    graph = helper.make_graph(make.nodes, "front", [given], [made], make.values, value_info=make.types)
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", OPSET), (CONTRIB, 1), (ML, 2))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
