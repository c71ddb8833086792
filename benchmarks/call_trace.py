"""What the spans of served calls say: the stages of a call, and the same as a Chrome trace; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

Span = Mapping[str, Any]
STAGES = {
    "client and its connection": "the client's time that gateway does not see",
    "gateway, before": "reading, authorising and translating, the bus, and waiting in inference",
    "inference": "joining what waits, encoding, checking and splitting the answer",
    "triton": "the call of Triton: its queue, its copies, the graph",
    "gateway, after": "the bus and the answer to the client",
}


@dataclass(frozen=True)
class Call:
    """One call: when the client sent it and had the answer, and its spans by service; times in µs since 1970."""

    sent: float
    answered: float
    gateway: tuple[float, float]
    inference: tuple[float, float]
    triton: tuple[float, float]

    @property
    def total(self) -> float:
        return self.answered - self.sent

    def stages(self) -> dict[str, float]:
        """µs by stage, in the order of STAGES; they add up to the total."""
        lasted = {name: end - begin for name, (begin, end) in self._spans().items()}
        return dict(
            zip(
                STAGES,
                (
                    self.total - lasted["gateway"],
                    self.inference[0] - self.gateway[0],
                    lasted["inference"] - lasted["triton"],
                    lasted["triton"],
                    self.gateway[1] - self.inference[1],
                ),
                strict=True,
            )
        )

    def _spans(self) -> dict[str, tuple[float, float]]:
        return {"gateway": self.gateway, "inference": self.inference, "triton": self.triton}


def call_of(sent: float, answered: float, spans: Sequence[Span]) -> Call | None:
    """The call that these spans are of; None while some have not been written."""
    found: dict[str, tuple[float, float]] = {}
    for span in spans:
        name = str(span["name"])
        stage = "triton" if name == "triton infer" else "inference" if name.startswith("infer ") else "gateway"
        found[stage] = (microseconds(span["start_time"]), microseconds(span["end_time"]))
    return Call(sent, answered, **found) if len(found) == 3 else None


def microseconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() * 1e6


def medians(calls: Sequence[Call]) -> dict[str, float]:
    """µs by stage: each the middle of all calls, so that they add up only nearly."""
    return {stage: median(call.stages()[stage] for call in calls) for stage in STAGES}


def usual(calls: Sequence[Call]) -> Call:
    """The call whose time is in the middle."""
    return sorted(calls, key=lambda call: call.total)[len(calls) // 2]


def by_operator(operators: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, float]]:
    """How many operators of each type there are, and their µs, the longest first."""
    found: dict[str, tuple[int, float]] = {}
    for each in operators:
        count, spent = found.get(each["operator"], (0, 0.0))
        found[each["operator"]] = (count + 1, spent + each["duration"])
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


def chrome(model: str, call: Call, operators: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The call as a trace that chrome://tracing and Perfetto open.

    The operators are those of a run of the graph by itself; they are drawn from the start of the call of Triton.
    """
    return {"displayTimeUnit": "ns", "traceEvents": [*_named(), *_drawn(model, call, operators)]}


def _named() -> Iterator[dict[str, Any]]:
    for place, name in enumerate(("client", "gateway", "inference", "Triton", "graph alone (onnxruntime)"), 1):
        yield {"ph": "M", "name": "process_name", "pid": place, "tid": 1, "args": {"name": name}}
        yield {"ph": "M", "name": "process_sort_index", "pid": place, "tid": 1, "args": {"sort_index": place}}


def _drawn(model: str, call: Call, operators: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    spans = (
        (f"call of {model}", (call.sent, call.answered)),
        ("gateway", call.gateway),
        ("inference", call.inference),
        ("triton infer", call.triton),
    )
    for place, (name, (begin, end)) in enumerate(spans, 1):
        yield _event(name, place, begin - call.sent, end - begin)
    for each in operators:
        start = call.triton[0] - call.sent + each["start"]
        yield _event(each["name"], 5, start, each["duration"], operator=each["operator"])


def _event(name: str, place: int, start: float, duration: float, **facts: Any) -> dict[str, Any]:
    return {"ph": "X", "name": name, "pid": place, "tid": 1, "ts": start, "dur": duration, "args": facts}
