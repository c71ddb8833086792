"""What MLflow's filters, orders and paths mean, and what a run keeps of what is said of it."""

import pytest

from services.gateway.mlflow.errors import error_document, no_route, status_of
from services.trainer.runs import domain
from services.trainer.runs.domain import Condition, Order
from shared.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from shared.events.common import TaskState
from shared.rpc.runs import Measured, RunCancelled, RunFile, Search

RUN = "run-01890000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("metrics.accuracy > 0.9", [Condition("metric", "accuracy", ">", 0.9)]),
        ("metrics.`val loss` <= 1e-3", [Condition("metric", "val loss", "<=", 0.001)]),
        (
            "params.model = 'cnn' and tags.\"mlflow.source.name\" LIKE '%a''",
            None,
        ),
        (
            "params.model = 'cnn' AND attributes.status != 'FAILED'",
            [Condition("param", "model", "=", "cnn"), Condition("attribute", "status", "!=", "FAILED")],
        ),
        ("run_name ILIKE 'a%'", [Condition("attribute", "run_name", "ILIKE", "a%")]),
        ("start_time >= 1700000000000", [Condition("attribute", "start_time", ">=", 1.7e12)]),
        ("attributes.run_id IN ('a', \"b\")", [Condition("attribute", "run_id", "IN", ["a", "b"])]),
        (
            "tags.kind IS NOT NULL and tags.x is null",
            [Condition("tag", "kind", "IS NOT NULL", None), Condition("tag", "x", "IS NULL", None)],
        ),
        ("tags.q = 'it\\'s'", [Condition("tag", "q", "=", "it's")]),
        ("tags.and = 'x and y'", [Condition("tag", "and", "=", "x and y")]),
    ],
)
def test_a_filter_is_understood(text: str, expected: list[Condition] | None) -> None:
    if expected is None:
        with pytest.raises(InvalidInput, match="not understood"):
            domain.conditions(text)
    else:
        assert domain.conditions(text) == expected


@pytest.mark.parametrize(
    "text",
    ["metrics.a", "metrics.a >", "metrics.a > 'b", "a = 1 OR b = 2", "params.a = 3", "nothing.a = 'b'", "metrics.a > b"]
    + ["tags.a = 'b' and", "tags.a IS NULL 'b'", "'; DROP TABLE runs; --", "tags.a = 'b' tags.c = 'd'"],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="filter"):
        domain.conditions(text)


def test_orders_are_understood() -> None:
    assert domain.orders(["metrics.loss DESC", "start_time", "params.`a b` asc"]) == [
        Order("metric", "loss", True),
        Order("attribute", "start_time", False),
        Order("param", "a b", False),
    ]
    with pytest.raises(InvalidInput, match="order_by"):
        domain.orders(["metrics.loss; DROP TABLE runs"])


def test_a_path_belongs_to_a_run_or_to_a_model() -> None:
    assert domain.owner_of_path(f"0/{RUN}/artifacts/model/MLmodel")[0] == RUN
    model = "m-" + "0" * 32
    assert domain.owner_of_path(f"12/models/{model}/artifacts") == (model, f"12/models/{model}/artifacts")
    for path in ("", "0", f"0/{RUN}", f"0/{RUN}/artifacts/../../x", f"0/{RUN}/artifacts//x", f"/0/{RUN}/artifacts/x"):
        with pytest.raises(InvalidInput):
            domain.owner_of_path(path)
    with pytest.raises(InvalidInput):
        domain.owner_of_path(f"0/{RUN}/artifacts/a\0b")


def test_the_last_value_is_that_of_the_highest_step() -> None:
    said = [Measured(name="loss", value=1, step=5, at=9), Measured(name="loss", value=2, step=4, at=10)]
    last = domain.latest({}, said)
    assert last == {"loss": {"value": 1, "step": 5, "at": 9}}
    assert domain.latest(last, [Measured(name="loss", value=3, step=5, at=9)])["loss"]["value"] == 3


def test_parameters_stay_and_texts_are_bounded() -> None:
    assert domain.with_parameters({"a": "1"}, {"a": "1", "b": "2"}) == {"a": "1", "b": "2"}
    with pytest.raises(InvalidInput, match="'a' was said to be '1' before"):
        domain.with_parameters({"a": "1"}, {"a": "2"})
    assert domain.with_texts({"a": "1", "b": "2"}, {"b": "3"}, ["a"]) == {"b": "3"}
    with pytest.raises(InvalidInput, match="at most"):
        domain.with_texts({}, {str(number): "" for number in range(domain.TEXTS_MOST + 1)})
    with pytest.raises(NotFound):
        domain.experiment_number("1; DROP")


def test_what_is_said_of_models_is_a_list_that_ends_somewhere() -> None:
    assert domain.with_description("[]", '{"a": 1}') == '[{"a": 1}]'
    long = domain.with_description('[{"a": 1}]', '"' + "x" * 59_990 + '"')
    assert long.startswith('["xxx') and len(long) < 60_000
    with pytest.raises(InvalidInput, match="no JSON"):
        domain.with_description("[]", "{")


def test_a_page_fits_into_an_answer() -> None:
    files = [RunFile(name="x" * 1000) for _ in range(2000)]
    shown, after = domain.page(files, Search(limit=1500, offset=10))
    assert 400 < len(shown) < 700 and after == 10 + len(shown)
    assert domain.page(files[:3], Search(limit=3)) == (files[:3], None)
    assert domain.page(files[:4], Search(limit=3)) == (files[:3], 3)


def test_errors_have_the_codes_of_the_protocol() -> None:
    assert error_document(NotFound("no"))["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert error_document(Unauthenticated())["error_code"] == "UNAUTHENTICATED"
    assert (status_of(Conflict()), error_document(RunCancelled())["error_code"]) == (400, "INVALID_STATE")
    assert no_route("GET", "/x")["error_code"] == "ENDPOINT_NOT_FOUND"
    domain.check_open(TaskState.SUCCEEDED)
    with pytest.raises(RunCancelled):
        domain.check_open(TaskState.CANCELLED)
