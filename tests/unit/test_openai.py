"""The shapes that clients of OpenAI's API expect."""

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.openai import embeddings
from services.gateway.openai.errors import error_document, is_openai, status_of
from services.gateway.predict.facts import facts_of
from shared.errors import AimassError, Forbidden, InvalidInput, NotFound, Unauthenticated, Unavailable
from shared.events.common import Signature, TensorSpec
from shared.rpc.registry import VersionView

TEXT = TensorSpec(name="text", datatype="BYTES", shape=(-1,))
VECTOR = TensorSpec(name="v", datatype="FP32", shape=(-1, 4))
ROWS = st.lists(st.tuples(*[st.floats(width=32, allow_nan=False, allow_infinity=False)] * 4), min_size=1, max_size=5)


@given(ROWS)
def test_both_encodings_hold_the_very_numbers(rows: list[tuple[float, ...]]) -> None:
    given = np.array(rows, np.float32)
    packed = embeddings.embedding_list("m", [given[:2], given[2:]], "base64")
    listed = embeddings.embedding_list("m", [given], "float")
    for number, (row, one, other) in enumerate(zip(given, packed["data"], listed["data"], strict=True)):
        assert one["index"] == other["index"] == number
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(one["embedding"]), "<f4"), row)
        np.testing.assert_array_equal(np.array(other["embedding"], np.float32), row)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4)))
def test_an_input_is_texts_or_refused(value: Any) -> None:
    try:
        found = embeddings.texts(value)
    except InvalidInput as error:
        assert error.field and error.field.startswith("input")
    else:
        assert [item.value for item in found] == ([value] if isinstance(value, str) else value)


@pytest.mark.parametrize(
    ("inputs", "outputs", "facts"),
    [
        ((TEXT, VECTOR), (VECTOR,), {}),
        ((VECTOR,), (VECTOR,), {}),
        ((TEXT,), (VECTOR, VECTOR), {}),
        ((TEXT,), (TEXT,), {}),
        ((TEXT,), (VECTOR,), {"task_type": "classification"}),
        ((TEXT,), (VECTOR,), {"labels": ["spam", "ham"]}),
    ],
)
def test_what_makes_no_embeddings_is_refused(inputs: Any, outputs: Any, facts: dict[str, Any]) -> None:
    view = VersionView(model="m", version=1, digest="d", signature=Signature(inputs=inputs, outputs=outputs), **facts)
    with pytest.raises(InvalidInput, match="makes no embeddings"):
        embeddings.check_embeds(facts_of(view, {}), None)


def test_dimensions_are_those_of_the_model() -> None:
    view = VersionView(model="m", version=1, digest="d", signature=Signature(inputs=(TEXT,), outputs=(VECTOR,)))
    embeddings.check_embeds(facts_of(view, {}), 4)
    with pytest.raises(InvalidInput, match="gives 4"):
        embeddings.check_embeds(facts_of(view, {}), 2)


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (InvalidInput("x", field="input"), 400, "invalid_request_error", "invalid_input"),
        (NotFound("x", field="model"), 404, "invalid_request_error", "model_not_found"),
        (NotFound("x"), 404, "invalid_request_error", "not_found"),
        (Unauthenticated(), 401, "invalid_request_error", "invalid_api_key"),
        (Forbidden(), 403, "permission_error", "forbidden"),
        (Unavailable(), 503, "server_error", "unavailable"),
    ],
)
def test_errors_have_the_names_that_clients_look_for(error: AimassError, status: int, kind: str, code: str) -> None:
    document = error_document(error)["error"]
    assert document == {"message": error.message, "type": kind, "param": error.field, "code": code}
    assert status_of(error) == status


def test_only_paths_below_v1_are_theirs() -> None:
    assert is_openai("/v1/models") and not is_openai("/v2/models") and not is_openai("/api/v1/models")
