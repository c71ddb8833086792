"""The names that a teacher found: believed by their digest alone, on words as the served graph cuts them."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from library.base import Part
from library.data.silver_names import NAMED, SilverNames, tags_of, texts_of, words_of
from library.files import pack
from library.members.ner import Ner
from library.sources.archives import CACHE_VARIABLE, DataUnavailable
from library.teacher.names import KINDS, TEACHER, Names

pytestmark = pytest.mark.library
TEXT = "Ada  Lovelace met Charles Babbage's friends in London."


def digest_of(*texts: str) -> str:
    return sha256("\0".join(texts).encode()).hexdigest()


def silver_of(folder: Path, *rows: tuple[int, int, int, int]) -> Names:
    """What lies in a cache as if it had been found."""
    columns = dict(zip(("text", "start", "end", "kind"), np.array(rows, "<i4").reshape(-1, 4).T, strict=True))
    names = Names(title="a test", texts=digest_of(TEXT), sha256=sha256(pack(columns)).hexdigest())
    names.path.parent.mkdir(parents=True)
    names.path.write_bytes(pack(columns))
    return names


def test_a_name_is_the_words_that_lie_within_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    person, place = KINDS.index("PERSON"), KINDS.index("LOC")
    silver = silver_of(tmp_path, (0, 0, 13, person), (0, 18, 33, person), (0, 47, 53, place), (0, 36, 40, place))
    words, (tags,) = words_of([TEXT])[0], tags_of([TEXT], silver)
    found = {word.strip(): SilverNames.labels[tag] for word, tag in zip(words, tags.tolist(), strict=False) if tag}
    assert found == {
        "Ada": "B-person",
        "Lovelace": "I-person",
        "Charles": "B-person",
        "Babbage": "I-person",
        "London": "B-place",
    }


def test_other_texts_are_refused_and_so_is_another_finding(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(DataUnavailable, match="the texts of a test have the digest"):
        silver_of(tmp_path).read(["another text"])
    monkeypatch.undo()
    with pytest.raises(DataUnavailable, match="this machine counts otherwise"):
        Names(title="a test", texts=digest_of(TEXT), sha256="0" * 64).read([TEXT])


def test_the_teacher_finds_what_is_declared(tmp_path: Path) -> None:
    """Without the cache, on the few."""
    texts, file = [text for _, text in texts_of("few")], tmp_path / "names.npz"
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    with TEACHER.started("label.py", str(tmp_path / "texts.json"), str(file), *KINDS) as process:
        assert [int(line) for line in process.stdout or ()] == [0, 1000]
    with np.load(file) as found:
        assert sha256(pack(dict(found))).hexdigest() == SilverNames.silver["few"].sha256


def test_no_text_and_no_article_is_in_two_parts() -> None:
    parts = SilverNames().few_parts()
    group_of = {text.encode(): group for group, text in texts_of("few")}
    groups = [{group_of[text] for text in parts[part]["text"].tolist()} for part in Part]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 100
    assert len(SilverNames.labels) == 1 + 2 * len(NAMED)


def test_the_baseline_knows_words_and_takes_unknown_capitals_for_the_commonest_rare_name() -> None:
    train = {
        "text": np.array([b"London calls", b"so Ada calls London", b"so Bob sees Paris"]),
        "tags": np.array([[5, 0, 0, 0], [0, 1, 0, 5], [0, 1, 0, 5]]),
    }
    test = {"text": np.array([b"Who calls London or Eve"]), "tags": np.zeros((1, 6), int)}
    assert Ner().baseline_outputs(train, test).tolist() == [[0, 0, 5, 0, 1, 0]]
