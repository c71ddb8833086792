"""Studies: trainings of a member with other parameters again and again, of which the best becomes a version."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from aimass import types as t
from aimass.calls import Call, call, get
from aimass.methods import method
from aimass.tasks import Terms


class Trial(TypedDict):
    """A training of a study; `values` has one for each objective once it has ended well."""

    number: int
    task_id: str
    state: str
    parameters: dict[str, Any]
    values: list[float]
    epochs: int
    is_best: bool
    error_message: str


class Study(TypedDict):
    """A study: its trials, the numbers of the best, the one that became a version, and what plots take."""

    task_id: str
    model: str
    state: str
    objectives: list[dict[str, Any]]
    trials: list[Trial]
    best: list[int]
    winner: int | None
    importances: dict[str, float]
    importance_method: str
    parallel: dict[str, Any]
    contours: list[dict[str, Any]]


class Studies:
    """What a client can do with studies."""

    @method
    def tune(
        self,
        model: str,
        config: Mapping[str, Any] | None = None,
        *,
        space: Mapping[str, Mapping[str, Any]] | None = None,
        sampler: str = "tpe",
        pruner: str = "none",
        objectives: Sequence[Mapping[str, str]] = (),
        budget: Mapping[str, float] | None = None,
        parallel: int = 1,
        seed: int = 0,
        auto_promote: bool = True,
        dataset: str | None = None,
        terms: Terms | None = None,
        key: str = "",
    ) -> Call[t.Accepted]:
        """Submit a study; `config` fixes fields, `space` narrows ranges, `budget` is of trials, seconds, a target."""
        body: dict[str, Any] = {
            "kind": "tune",
            "model": model,
            "config": dict(config or {}),
            "space": dict(space or {}),
        }
        body |= {"sampler": sampler, "pruner": pruner, "objectives": list(objectives), "budget": dict(budget or {})}
        body |= {"parallel": parallel, "seed": seed, "auto_promote": auto_promote, "dataset": dataset}
        return call("POST", "tasks", json=body | dict(terms or {}), key=key)

    @method
    def study(self, task_id: str) -> Call[Study]:
        """A study as far as it is."""
        return get(f"tasks/{task_id}/study")
