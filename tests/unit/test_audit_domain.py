"""The audit's chain: whatever is altered, taken out or cut off shows, at the first place where it is so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.monitor.audit.domain import Entry, Head, Verifier, chained
from shared.rpc.monitor import AuditVerification

START = datetime(2026, 1, 2, tzinfo=UTC)
FIELDS = ("project", "type", "source", "subject", "event_id", "actor", "correlation_id", "causation_id", "data")


def chain(length: int, mark: str = "") -> list[Entry]:
    entries: list[Entry] = []
    head = Head()
    for number in range(length):
        given: dict[str, Any] = {name: f"{name} {number}{mark}" for name in FIELDS} | {"data": f'{{"n": {number}}}'}
        entries.append(chained(Entry(position=0, at=START + timedelta(seconds=number), **given), head))
        head = Head(entries[-1].position, entries[-1].digest)
    return entries


def said(entries: list[Entry]) -> dict[int, str]:
    return {entry.position: entry.digest for entry in entries}


def verified(entries: list[Entry], published: dict[int, str]) -> AuditVerification:
    verifier = Verifier(published)
    verifier.read(entries)
    return verifier.verdict()


@given(st.integers(0, 30))
def test_an_untouched_chain_is_intact(length: int) -> None:
    entries = chain(length)
    found = verified(entries, said(entries))
    assert (found.intact, found.entries, found.published) == (True, length, length)


@given(st.integers(1, 20), st.data())
def test_an_altered_entry_is_named(length: int, data: st.DataObject) -> None:
    entries = chain(length)
    place = data.draw(st.integers(0, length - 1))
    name = data.draw(st.sampled_from((*FIELDS, "at", "previous", "digest")))
    changed = START if name == "at" and entries[place].at != START else START + timedelta(days=1)
    value: Any = changed if name == "at" else getattr(entries[place], name) + "x"
    entries[place] = replace(entries[place], **{name: value})
    found = verified(entries, {})
    assert (found.intact, found.position) == (False, place + 1)


@given(st.integers(2, 20), st.data())
def test_a_missing_entry_is_named(length: int, data: st.DataObject) -> None:
    entries = chain(length)
    place = data.draw(st.integers(0, length - 2))
    del entries[place]
    found = verified(entries, {})
    assert (found.intact, found.position, found.problem) == (False, place + 1, "an entry is missing")


@given(st.integers(1, 20), st.data())
def test_a_chain_written_anew_differs_from_what_was_published(length: int, data: st.DataObject) -> None:
    entries, forged = chain(length), chain(length, " forged")
    place = data.draw(st.integers(1, length))
    assert verified(forged, {}).intact
    found = verified(forged, {place: entries[place - 1].digest})
    assert (found.intact, found.position) == (False, place)
    assert "published" in found.problem


@given(st.integers(1, 20), st.data())
def test_an_end_that_was_cut_off_is_missed(length: int, data: st.DataObject) -> None:
    entries = chain(length)
    kept = data.draw(st.integers(0, length - 1))
    found = verified(entries[:kept], said(entries))
    assert (found.intact, found.position) == (False, kept + 1)
