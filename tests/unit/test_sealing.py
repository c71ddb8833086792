"""Secrets at rest: opened by the same keys for the same purpose, and by nothing else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sealing import NotOurs, Sealer, add_key, drop_older_keys, read_keys

KEYS = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4, unique=True)


@given(KEYS, st.binary(max_size=300), st.text(max_size=50))
def test_what_was_sealed_is_opened(keys: list[bytes], secret: bytes, context: str) -> None:
    sealed = Sealer(keys).seal(secret, context)
    assert Sealer(keys).open(sealed, context) == secret
    assert not secret or len(secret) < 8 or secret not in sealed


@given(KEYS, st.binary(max_size=100), st.data())
def test_nothing_altered_is_opened(keys: list[bytes], secret: bytes, data: st.DataObject) -> None:
    sealed = bytearray(Sealer(keys).seal(secret, "webhook 1"))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NotOurs):
        Sealer(keys).open(bytes(sealed), "webhook 1")
    with pytest.raises(NotOurs):
        Sealer(keys).open(bytes(sealed[:place]), "webhook 1")


@given(KEYS, st.binary(max_size=100), st.text(max_size=20), st.text(max_size=20))
def test_no_secret_takes_the_place_of_another(keys: list[bytes], secret: bytes, one: str, other: str) -> None:
    if one == other:
        return
    with pytest.raises(NotOurs):
        Sealer(keys).open(Sealer(keys).seal(secret, one), other)


def test_a_new_key_seals_and_the_older_ones_open_until_they_are_dropped(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "seal.keys"
    first = add_key(file).seal(b"secret", "a")
    second = add_key(file)
    assert (second.open(first, "a"), second.is_current(first)) == (b"secret", False)
    again = second.seal(b"secret", "a")
    last = drop_older_keys(file)
    assert (last.open(again, "a"), last.is_current(again)) == (b"secret", True)
    with pytest.raises(NotOurs):
        last.open(first, "a")


def test_a_file_that_others_read_or_that_is_missing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "seal.keys"
    with pytest.raises(ValueError, match="cannot be read"):
        read_keys(file)
    add_key(file)
    file.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        read_keys(file)
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer([])
