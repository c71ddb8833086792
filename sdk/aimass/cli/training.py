"""train, clone and reproduce: what begins a task, and what it is told."""

import json
import time
from typing import Annotated, Any, cast

import typer

from aimass import Client, NotFound, types
from aimass.cli import following, output
from aimass.cli.session import client_of
from aimass.cli.tasks import Follow, Priority, Remark, Tags, TaskId
from aimass.tasks import Terms

REGISTERED_SECONDS = 30.0
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A member of the library: 'aimass library' lists them.")]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="A value of the config, as JSON or text; dots go inside; may be repeated."
    ),
]


After = Annotated[list[str], typer.Option("--after", metavar="TASK", help="Wait until this task has succeeded.")]
Needs = Annotated[
    list[str],
    typer.Option("--need", metavar="KEY=VALUE", help="What it takes of a node: cores, gpus, memory (bytes)."),
]


Place = Annotated[
    str | None, typer.Option(metavar="local|ray", help="Where it runs: on this platform's node, or on its Ray cluster.")
]
Key = Annotated[str, typer.Option(help="An idempotency key: the same key again is the same task.")]


def train(
    context: typer.Context,
    model: Model,
    settings: Settings = [],  # noqa: B006
    workers: Annotated[int, typer.Option(help="Processes that share each batch; --need is for each of them.")] = 1,
    dataset: Annotated[str | None, typer.Option(help="Train on this data set instead of the member's own.")] = None,
    promote: Annotated[bool, typer.Option(help="Promote the version by itself if it passes its evaluation.")] = True,
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
    """Train a member of the library, which becomes the next version of the model of its name."""
    config, terms = config_of(settings), terms_of(priority, tags, remark, after, needs, place)
    given: dict[str, Any] = {"terms": terms, "training": {"workers": workers} if workers != 1 else None}
    with client_of(context) as client:
        accepted = client.train(model, config, auto_promote=promote, dataset=dataset, key=key, **given)
        submitted(client, accepted, follow, as_json)


def clone(
    context: typer.Context,
    task: TaskId,
    settings: Settings = [],  # noqa: B006
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
    """Submit a task again, with other values where --set names them."""
    config, terms = config_of(settings), terms_of(priority, tags, remark, after, needs, place)
    with client_of(context) as client:
        submitted(client, client.clone(task, config, terms=terms, key=key), follow, as_json)


def reproduce(
    context: typer.Context, task: TaskId, key: Key = "", follow: Follow = False, as_json: output.AsJson = False
) -> None:
    """Run a training that succeeded once more on the same data, and say what came out otherwise."""
    with client_of(context) as client:
        accepted = client.reproduce(task, key=key)
        if not follow:
            return output.facts(accepted, as_json)
        ended = following.follow(client, accepted["id"], as_json)
    following.end(ended, as_json)
    return output.facts(ended["result"]["reproduction"], as_json)


def submitted(client: Client, accepted: types.Accepted, follow: bool, as_json: bool) -> None:
    """Say what was accepted, and with --follow what becomes of it: the same for all that begins a task."""
    if not follow:
        return output.facts(accepted, as_json)
    if as_json:
        output.json_line({"event": "accepted", "task": accepted})
    else:
        output.note(f"{accepted['id']} {accepted['state']}")
    task = following.follow(client, accepted["id"], as_json)
    following.end(task, as_json)
    return _registered(client, task, as_json)


def terms_of(
    priority: int | None, tags: list[str], remark: str | None, after: list[str], needs: list[str], place: str | None
) -> Terms:
    """The terms that were given; what was not is left to the platform."""
    given: dict[str, Any] = {"priority": priority, "tags": tags, "remark": remark, "after": after, "place": place}
    given["resources"] = config_of(needs, "--need")
    return cast(Terms, {name: value for name, value in given.items() if value not in (None, [], {})})


def config_of(settings: list[str], option: str = "--set") -> dict[str, Any]:
    """The config of `key=value`s: values are JSON where they can be read so, else text; `a.b=1` is `{"a": {"b": 1}}`.

    Raises a usage error for what has no key.
    """
    config: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        *outer, last = name.split(".")
        if not equals or not all((*outer, last)):
            raise typer.BadParameter(f"'{setting}' is not KEY=VALUE, such as epochs=5", param_hint=option)
        inside = config
        for each in outer:
            inside = inside.setdefault(each, {})
            if not isinstance(inside, dict):
                raise typer.BadParameter(f"'{name}' is inside of what is a value already", param_hint=option)
        inside[last] = value_of(text)
    return config


def value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _registered(client: Client, task: types.Task, as_json: bool) -> None:
    """A task that ends with a version: wait until the version has its number."""
    if task["kind"] not in ("train", "optimise", "tune"):
        return
    deadline = time.monotonic() + REGISTERED_SECONDS
    while (version := _version_of(client, task)) is None and time.monotonic() < deadline:
        time.sleep(0.3)
    if version is None:
        output.note(f"its version is not registered yet: 'aimass versions {task['model']}' shows it soon")
    elif as_json:
        output.json_line({"event": "registered", "version": version})
    else:
        output.line(f"{version['model']} version {version['version']}")


def _version_of(client: Client, task: types.Task) -> types.Version | None:
    try:
        return next((found for found in client.versions(task["model"]) if _is_of(found, task)), None)
    except NotFound:
        return None


def _is_of(version: types.Version, task: types.Task) -> bool:
    """A study's version is that of its best trial."""
    return version["task_id"] == task["id"] or version["digest"] == task["result"].get("digest")
