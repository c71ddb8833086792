"""tune and study: trainings with other parameters again and again, and what came of them."""

from typing import Annotated, Any

import typer

from aimass.cli import output
from aimass.cli.session import client_of
from aimass.cli.tasks import Follow, Priority, Remark, Tags, TaskId
from aimass.cli.training import After, Key, Model, Needs, Place, Settings, config_of, submitted, terms_of
from aimass.tuning import Trial

Ranges = Annotated[
    list[str],
    typer.Option(
        "--range", metavar="FIELD.END=VALUE", help="Such as learning_rate.maximum=0.01, or hidden.choices=[8,16]."
    ),
]
COLUMNS: output.Columns = {
    "TRIAL": lambda trial: f"{trial['number']}{'*' if trial['is_best'] else ''}",
    "STATE": lambda trial: trial["state"],
    "VALUES": lambda trial: " ".join(f"{value:.4g}" for value in trial["values"]),
    "EPOCHS": lambda trial: trial["epochs"],
    "PARAMETERS": lambda trial: _short(trial),
    "TASK": lambda trial: trial["task_id"],
}


def tune(
    context: typer.Context,
    model: Model,
    settings: Settings = [],  # noqa: B006
    ranges: Ranges = [],  # noqa: B006
    trials: Annotated[int, typer.Option(min=1, help="How many trainings there are.")] = 20,
    seconds: Annotated[float | None, typer.Option(help="No further one begins after these.")] = None,
    target: Annotated[float | None, typer.Option(help="The study is over once the metric has reached this.")] = None,
    sampler: Annotated[str, typer.Option(help="tpe, cmaes, random or grid.")] = "tpe",
    pruner: Annotated[str, typer.Option(help="none, asha, hyperband or median.")] = "none",
    parallel: Annotated[int, typer.Option(min=1, help="Trials at once.")] = 1,
    seed: int = 0,
    dataset: Annotated[str | None, typer.Option(help="Train on this data set instead of the member's own.")] = None,
    promote: Annotated[bool, typer.Option(help="Promote the best by itself if it passes its evaluation.")] = True,
    priority: Priority = None,
    tags: Tags = [],  # noqa: B006
    remark: Remark = None,
    after: After = [],  # noqa: B006
    needs: Needs = [],  # noqa: B006
    place: Place = None,
    key: Key = "",
    follow: Follow = False,
    as_json: output.AsJson = False,
) -> None:
    """Train a member with other parameters again and again; the best training becomes a version."""
    limits = {"trials": trials, "seconds": seconds, "target": target}
    budget = {name: value for name, value in limits.items() if value is not None}
    config, space = config_of(settings), config_of(ranges, "--range")
    terms = terms_of(priority, tags, remark, after, needs, place)
    drawn: dict[str, Any] = {"sampler": sampler, "pruner": pruner, "parallel": parallel, "seed": seed}
    told: dict[str, Any] = {"auto_promote": promote, "dataset": dataset, "terms": terms, "key": key}
    with client_of(context) as client:
        accepted = client.tune(model, config, space=space, budget=budget, **drawn, **told)
        submitted(client, accepted, follow, as_json)


def study(context: typer.Context, task: TaskId, as_json: output.AsJson = False) -> None:
    """Show the trials of a study, and which fields mattered."""
    with client_of(context) as client:
        found = client.study(task)
    if as_json:
        return output.document(found)
    output.rows(found["trials"], COLUMNS, as_json)
    for name, share in sorted(found["importances"].items(), key=lambda pair: -pair[1]):
        output.note(f"{name} mattered {share:.0%}")
    return None


def _short(trial: Trial) -> str:
    values = {
        name: f"{value:.3g}" if isinstance(value, float) else value for name, value in trial["parameters"].items()
    }
    return " ".join(f"{name}={value}" for name, value in values.items())
