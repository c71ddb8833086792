"""A gate passes exactly when each of its conditions holds, and nothing that is no number holds."""

from hypothesis import given
from hypothesis import strategies as st

from library.base import COMPARISONS, Condition, Gate

numbers = st.floats(allow_nan=False, allow_infinity=False)
conditions = st.builds(
    Condition, metric=st.sampled_from("abc"), operator=st.sampled_from(list(COMPARISONS)), threshold=numbers
)
gates = st.builds(Gate, conditions=st.lists(conditions, min_size=1, max_size=4).map(tuple))
measured = st.dictionaries(st.sampled_from("abc"), numbers)


@given(gates, measured)
def test_a_gate_passes_exactly_when_each_condition_holds(gate: Gate, metrics: dict[str, float]) -> None:
    failures = gate.failures(metrics)
    assert gate.passes(metrics) == all(condition.holds(metrics) for condition in gate.conditions)
    assert gate.passes(metrics) == (not failures)
    assert all(condition in gate.conditions and not condition.holds(metrics) for condition in failures)


@given(conditions, numbers)
def test_a_condition_compares_as_its_operator_says(condition: Condition, value: float) -> None:
    below, above = value < condition.threshold, value > condition.threshold
    holds = {">=": not below, ">": above, "<=": not above, "<": below}[condition.operator]
    assert condition.holds({condition.metric: value}) == holds


@given(conditions, st.sampled_from([float("nan"), None, "0.99", [1.0], {}]))
def test_what_is_not_a_number_never_holds(condition: Condition, value: object) -> None:
    assert not condition.holds({condition.metric: value})
    assert not condition.holds({})


@given(gates, measured, st.sampled_from("abc"), st.floats(0, 1e9))
def test_a_higher_figure_never_breaks_a_gate_that_asks_for_at_least(
    gate: Gate, metrics: dict[str, float], metric: str, more: float
) -> None:
    lower_bounds = [condition for condition in gate.conditions if condition.operator in (">=", ">")]
    if lower_bounds and metric in metrics and Gate(conditions=tuple(lower_bounds)).passes(metrics):
        assert Gate(conditions=tuple(lower_bounds)).passes(metrics | {metric: metrics[metric] + more})


@given(gates)
def test_a_gate_survives_the_wire(gate: Gate) -> None:
    assert Gate.of(gate.to_wire()) == gate
    assert Gate.model_validate_json(gate.model_dump_json()) == gate
