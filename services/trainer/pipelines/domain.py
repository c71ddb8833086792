"""What a pipeline is: which steps it may have, which go on, which never will, and how the whole ends; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from shared.errors import Conflict, InvalidInput, NotFound
from shared.names import listed
from shared.pipelines import AnyStep, BatchStep, Definition, OfVersion, PromoteStep

KIND = "pipeline"
MAKES_VERSION = frozenset({"train", "tune", "optimise"})
SERVED = frozenset({"evaluate", "promote", "deploy"})
USABLE: dict[str, frozenset[str]] = {
    "train": frozenset({"tune"}),
    "optimise": MAKES_VERSION | SERVED,
    "batch": SERVED,
    "evaluate": MAKES_VERSION,
    "promote": frozenset({"evaluate"}),
    "deploy": frozenset({"promote"}),
}


class StepState(StrEnum):
    """The states of a step."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class PipelineState(StrEnum):
    """The states of a pipeline; one that is stopping waits for the end of what ran."""

    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


MOVES: dict[StepState, frozenset[StepState]] = {
    StepState.WAITING: frozenset({StepState.RUNNING, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED}),
    StepState.RUNNING: frozenset({StepState.SUCCEEDED, StepState.FAILED, StepState.CANCELLED}),
    StepState.SUCCEEDED: frozenset(),
    StepState.FAILED: frozenset(),
    StepState.SKIPPED: frozenset(),
    StepState.CANCELLED: frozenset(),
}
ENDED_BADLY = frozenset({StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED})
BREAKS = frozenset({StepState.FAILED, StepState.CANCELLED})


@dataclass(frozen=True)
class Standing:
    """Where a step stands: what it waits for, and whether somebody must approve of it first."""

    name: str
    after: tuple[str, ...]
    state: StepState = StepState.WAITING
    unapproved: bool = False


@dataclass(frozen=True)
class Decision:
    """What becomes of a pipeline now: steps to begin, to leave out, to stop; how it will end, and whether it has."""

    begin: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    ending: PipelineState | None = None
    ended: PipelineState | None = None


def is_final(state: StepState) -> bool:
    return not MOVES[state]


def move(state: StepState, to: StepState) -> StepState:
    """The next state of a step; raises Conflict when there is no such move."""
    if to not in MOVES[state]:
        raise Conflict(f"a step that is {state} cannot become {to}")
    return to


def decide(steps: Sequence[Standing], on_failure: str, ending: PipelineState | None = None) -> Decision:
    """What to do next; `ending` is what was decided of the end before, such as by who cancelled it."""
    if ending is None and on_failure == "stop" and any(step.state in BREAKS for step in steps):
        ending = PipelineState.FAILED
    if all(is_final(step.state) for step in steps):
        return Decision(ending=ending, ended=ending or _ended(steps))
    if ending is not None:
        return Decision(stop=tuple(step.name for step in steps if not is_final(step.state)), ending=ending)
    states = {step.name: step.state for step in steps}
    waiting = [step for step in steps if step.state is StepState.WAITING]
    skip = tuple(step.name for step in waiting if any(states[name] in ENDED_BADLY for name in step.after))
    begin = tuple(step.name for step in waiting if not left(step, states) and not step.unapproved)
    return Decision(begin=begin, skip=skip)


def left(step: Standing, states: Mapping[str, StepState]) -> list[str]:
    """The steps that this one still waits for."""
    return [name for name in step.after if states[name] is not StepState.SUCCEEDED]


def why_it_waits(step: Standing, steps: Iterable[Standing]) -> str:
    """For people."""
    if names := left(step, {other.name: other.state for other in steps}):
        return f"waits for {listed(names)}"
    return "waits for somebody's approval" if step.unapproved else ""


def _ended(steps: Iterable[Standing]) -> PipelineState:
    return PipelineState.FAILED if any(step.state in BREAKS for step in steps) else PipelineState.SUCCEEDED


def waits_for(step: AnyStep) -> tuple[str, ...]:
    """The names of all steps that must have succeeded before."""
    return tuple(dict.fromkeys((*step.uses, *step.after)))


def check(definition: Definition) -> None:
    """Raises InvalidInput that names the field of the first step that cannot be."""
    known: dict[str, AnyStep] = {}
    for index, step in enumerate(definition.steps):
        if step.name in known:
            raise wrong(index, "name", f"another step is named '{step.name}'")
        known[step.name] = step
    for index, step in enumerate(definition.steps):
        _check_names(index, step, known)
        _check_of(index, step)
    if circle := circle_of({name: waits_for(step) for name, step in known.items()}):
        at = next(index for index, step in enumerate(definition.steps) if step.name == circle[0])
        raise wrong(at, "after", f"steps wait for each other in a circle: {' after '.join([*circle, circle[0]])}")


def _check_names(index: int, step: AnyStep, known: Mapping[str, AnyStep]) -> None:
    for name in step.after:
        if name not in known:
            raise wrong(index, "after", f"no step named '{name}'; there are {listed(known)}")
    for name in step.uses:
        field = "config_of" if step.kind == "train" else "of"
        if name not in known:
            raise wrong(index, field, f"no step named '{name}'; there are {listed(known)}")
        if (kind := known[name].kind) not in USABLE[step.kind]:
            kinds = listed(sorted(USABLE[step.kind]))
            raise wrong(index, field, f"'{name}' is of kind {kind}: a step of kind {step.kind} needs one of {kinds}")


def _check_of(index: int, step: AnyStep) -> None:
    if not isinstance(step, OfVersion):
        return
    if (step.of is None) == (step.model is None):
        raise wrong(index, "of", "name a step before, or a model")
    if step.of is not None and step.version is not None:
        raise wrong(index, "version", "it is that of the step before")
    if step.model is not None and step.version is None and not isinstance(step, BatchStep):
        raise wrong(index, "version", "say which version of the model")


def wrong(index: int, field: str, why: str) -> InvalidInput:
    """What to say of a field of a step."""
    name = f"steps[{index}].{field}"
    return InvalidInput(f"{name}: {why}", field=name)


def within(index: int, error: InvalidInput | NotFound) -> InvalidInput:
    """What was said of a field of a task, said of that of its step."""
    field = {None: "model", "name": "dataset"}.get(error.field, error.field)
    assert field is not None
    return wrong(index, field, error.message.removeprefix(f"{field}: "))


def circle_of(after: Mapping[str, Sequence[str]]) -> list[str]:
    """The names of a circle, each after the next; nothing where there is none."""
    left_over = {name: set(others) for name, others in after.items()}
    while free := [name for name, others in left_over.items() if not others & left_over.keys()]:
        for name in free:
            del left_over[name]
    if not left_over:
        return []
    path = [next(iter(left_over))]
    while (following := next(name for name in after[path[-1]] if name in left_over)) not in path:
        path.append(following)
    return path[path.index(following) :]


def needs_approval(step: AnyStep) -> bool:
    return isinstance(step, PromoteStep) and step.policy == "approval"


def changed(
    earlier: Mapping[str, Any],
    name: str | None = None,
    on_failure: str | None = None,
    steps: Mapping[str, Mapping[str, Any]] | None = None,
) -> Definition:
    """The definition of a clone: fields of steps are replaced, those of `config` added to; raises InvalidInput."""
    changes = dict(steps or {})
    names = [step["name"] for step in earlier["steps"]]
    if unknown := next((name for name in changes if name not in names), None):
        raise InvalidInput(f"steps.{unknown}: no step named '{unknown}'; there are {listed(names)}", field="steps")
    given = {"name": name or earlier["name"], "on_failure": on_failure or earlier["on_failure"]}
    return read_definition(
        given | {"steps": [_changed(step, changes.get(step["name"], {})) for step in earlier["steps"]]}
    )


def _changed(step: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    config = {"config": step["config"] | change["config"]} if isinstance(change.get("config"), dict) else {}
    return {**step, **change, **config, "name": step["name"], "kind": step["kind"]}


def read_definition(given: Mapping[str, Any]) -> Definition:
    """Raises InvalidInput that names the field."""
    try:
        return Definition.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = [part for part in first["loc"] if part not in USABLE and part != "tune"]
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
        raise InvalidInput(f"{field}: {first['msg']}", field=field) from error


@dataclass(frozen=True)
class Version:
    """What is known of a version from the events about it."""

    model: str = ""
    version: int = 0
    evaluation_id: str = ""
    passed: bool | None = None
    reasons: tuple[str, ...] = ()
    failure: tuple[str, str] = ("", "")
    not_deployed: str = ""
    is_serving: bool = False


@dataclass(frozen=True)
class Fact:
    """An event about a version, with what is needed of it; `about` tells several of a kind apart."""

    event: str
    about: str
    data: Mapping[str, Any]


def known(model: str, version: int, facts: Iterable[Fact]) -> Version:
    """All facts of a version together, in whatever order they came; of evaluations the newest counts."""
    found = Version(model, version)
    for fact in sorted(facts, key=lambda fact: (fact.about, ORDER.index(fact.event))):
        found = _with(found, fact)
    return found


ORDER = (
    *("version_registered", "deployment_failed", "traffic_switched"),
    *("evaluation_requested", "evaluation_failed", "evaluation_completed"),
)


def _with(found: Version, fact: Fact) -> Version:
    match fact.event:
        case "deployment_failed":
            return replace(found, not_deployed=str(fact.data["reason"]))
        case "traffic_switched":
            return replace(found, is_serving=True)
        case "evaluation_requested":
            return replace(found, evaluation_id=fact.about, passed=None, reasons=(), failure=("", ""))
        case "evaluation_failed":
            failure = (str(fact.data["error_class"]), str(fact.data["error_message"]))
            return replace(found, evaluation_id=fact.about, passed=None, reasons=(), failure=failure)
        case "evaluation_completed":
            passed = fact.data["verdict"] == "VERDICT_PASSED"
            reasons = tuple(fact.data["reasons"])
            return replace(found, evaluation_id=fact.about, passed=passed, reasons=reasons, failure=("", ""))
    return found
