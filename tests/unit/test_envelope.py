"""Envelopes survive the bus in both modes, whatever their values hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.context import Context
from shared.envelope import Envelope, read_data, read_envelope
from shared.errors import InvalidInput

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
TOKEN = st.from_regex(r"[a-z0-9_-]{1,10}", fullmatch=True)


@given(TEXT, TEXT, TEXT, TEXT, TOKEN, st.integers(0, 2**53))
def test_binary_mode_round_trip(kind: str, source: str, subject: str, actor: str, project: str, sequence: int) -> None:
    given_envelope = Envelope(kind, source, subject, actor=actor, project=project, sequence=sequence)
    headers = given_envelope.to_headers()
    assert all(" " < char <= "~" for value in headers.values() for char in value)
    assert read_envelope(f"evt.{project}.x.v1.y", headers, b"{}") == given_envelope


@given(TEXT, TEXT)
def test_structured_mode(kind: str, source: str) -> None:
    body = json.dumps({"specversion": "1.0", "type": kind, "source": source, "id": "1", "data": {"a": 1}}).encode()
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    found = read_envelope("evt.p.x.v1.y", headers, body)
    assert (found.type, found.source, found.project) == (kind, source, "p")
    assert read_data(headers, body) == {"a": 1}


@pytest.mark.parametrize("missing", ["ce-id", "ce-type", "ce-source"])
def test_a_missing_attribute_is_named(missing: str) -> None:
    headers = Envelope("t", "s", "a").to_headers()
    del headers[missing]
    with pytest.raises(InvalidInput, match=missing):
        read_envelope("evt.p.x.v1.y", headers, b"{}")


def test_a_replay_keeps_the_project_of_its_first_subject() -> None:
    headers = Envelope("t", "s", "a").to_headers() | {"aimass-subject": "evt.acme.training.v1.x"}
    assert read_envelope("retry.registry", headers, b"{}").project == "acme"


@given(TOKEN, TOKEN, st.none() | st.floats(0, 1e10))
def test_context_round_trip(project: str, actor: str, deadline: float | None) -> None:
    context = Context(project=project, actor=actor, deadline=deadline)
    found = Context.from_headers(context.to_headers())
    assert (found.project, found.actor, found.correlation_id) == (project, actor, context.correlation_id)
    assert (found.deadline is None) == (deadline is None)
