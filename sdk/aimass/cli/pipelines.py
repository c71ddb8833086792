"""pipeline submit, list, show, approve, cancel, clone: several steps as one thing."""

import json
import time
from typing import Annotated, Any

import typer

from aimass import Client, DeadlineExceeded, Unavailable
from aimass.cli import exits, output
from aimass.cli.session import client_of
from aimass.cli.training import Key, Settings, config_of
from aimass.pipelines import Pipeline, Step
from aimass.tasks import ENDED

LOOK_SECONDS = 1.0
PipelineId = Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's id, such as pipeline-0190….")]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Go on until the pipeline has ended; Ctrl-C leaves it running.")
]
COLUMNS: output.Columns = {
    "PIPELINE": lambda found: found["id"],
    "NAME": lambda found: found["name"],
    "STATE": lambda found: found["state"],
    "STEPS": lambda found: " ".join(f"{step['name']}:{step['state']}" for step in found["steps"]),
    "CREATED": lambda found: output.moment(found["created_at"]),
}
STEPS: output.Columns = {
    "STEP": lambda step: step["name"],
    "KIND": lambda step: step["kind"],
    "STATE": lambda step: step["state"],
    "MODEL": lambda step: step["model"],
    "VERSION": lambda step: step["version"],
    "BEGAN": lambda step: output.moment(step["started_at"]),
    "ENDED": lambda step: output.moment(step["ended_at"]),
    "NOTE": lambda step: _note(step),
    "TASK": lambda step: step["task_id"],
}

app = typer.Typer(name="pipeline", no_args_is_help=True, help="Pipelines: several steps as one thing.")


@app.command()
def submit(
    context: typer.Context,
    file: Annotated[typer.FileText, typer.Argument(metavar="FILE", help="The pipeline as JSON; '-' reads stdin.")],
    key: Annotated[str, typer.Option(help="An idempotency key: the same key again is the same pipeline.")] = "",
    follow: Follow = False,
    as_json: output.AsJson = False,
) -> None:
    """Submit a pipeline."""
    definition = _read(file.read())
    with client_of(context) as client:
        _told(client, client.submit_pipeline(definition, key=key), follow, as_json)


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only in this state, such as running.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    as_json: output.AsJson = False,
) -> None:
    """List pipelines, newest first."""
    with client_of(context) as client:
        output.rows(client.pipelines(state=state, limit=limit), COLUMNS, as_json)


@app.command()
def show(context: typer.Context, pipeline: PipelineId, follow: Follow = False, as_json: output.AsJson = False) -> None:
    """Show a pipeline and its steps: state, times, tasks and versions, and why one waits."""
    with client_of(context) as client:
        _told(client, client.pipeline(pipeline), follow, as_json)


@app.command()
def approve(
    context: typer.Context,
    pipeline: PipelineId,
    step: Annotated[str, typer.Argument(metavar="STEP", help="The name of the step.")],
    as_json: output.AsJson = False,
) -> None:
    """Let a promotion go on that waits for somebody's approval."""
    with client_of(context) as client:
        _show(client.approve_step(pipeline, step), as_json)


@app.command()
def cancel(context: typer.Context, pipeline: PipelineId, as_json: output.AsJson = False) -> None:
    """Stop a pipeline: what runs ends within seconds, and nothing else begins."""
    with client_of(context) as client:
        _show(client.cancel_pipeline(pipeline), as_json)


@app.command()
def clone(
    context: typer.Context,
    pipeline: PipelineId,
    settings: Settings = [],  # noqa: B006
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    key: Key = "",
    follow: Follow = False,
    as_json: output.AsJson = False,
) -> None:
    """Submit a pipeline again, with other values where --set STEP.FIELD=VALUE names them."""
    steps = config_of(settings)
    if wrong := next((step for step, fields in steps.items() if not isinstance(fields, dict)), None):
        raise typer.BadParameter(f"'{wrong}' is no field of a step: say STEP.FIELD=VALUE", param_hint="--set")
    with client_of(context) as client:
        _told(client, client.clone_pipeline(pipeline, steps, name=name, key=key), follow, as_json)


def _read(text: str) -> dict[str, Any]:
    try:
        definition = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"it is not JSON: {error}", param_hint="FILE") from None
    if not isinstance(definition, dict):
        raise typer.BadParameter('it is no pipeline: {"steps": [...]}', param_hint="FILE")
    return definition


def _told(client: Client, found: Pipeline, follow: bool, as_json: bool) -> None:
    """Show what there is, and with --follow what becomes of it."""
    if not follow:
        return _show(found, as_json)
    ended = _follow(client, found, as_json)
    if as_json:
        output.json_line({"event": "ended", "pipeline": ended})
    else:
        _show(ended, as_json)
    if ended["state"] != "succeeded":
        exits.leave(exits.TASK_FAILED, f"{ended['id']} {ended['state']}")
    return None


def _follow(client: Client, found: Pipeline, as_json: bool) -> Pipeline:
    """A line for each change of a step, until the pipeline has ended; an unreachable platform is waited for."""
    seen: dict[str, str] = {}
    try:
        while True:
            for step in found["steps"]:
                _line(step, seen, as_json)
            if found["state"] in ENDED:
                return found
            time.sleep(LOOK_SECONDS)
            found = _again(client, found)
    except KeyboardInterrupt:
        name = found["id"]
        hint = f"'aimass pipeline show -f {name}' follows it, 'aimass pipeline cancel {name}' stops it"
        exits.leave(exits.INTERRUPTED, f"{name} goes on: {hint}")


def _again(client: Client, found: Pipeline) -> Pipeline:
    try:
        return client.pipeline(found["id"])
    except (Unavailable, DeadlineExceeded):
        return found


def _line(step: Step, seen: dict[str, str], as_json: bool) -> None:
    state = step["state"] if step["state"] == "running" else f"{step['state']} {_note(step)}".strip()
    if state == seen.get(step["name"]):
        return
    seen[step["name"]] = state
    if as_json:
        output.json_line({"event": "step", "step": step})
    else:
        output.note(f"{step['name']} {state}")


def _show(found: Pipeline, as_json: bool) -> None:
    if as_json:
        return output.document(found)
    output.note(f"{found['id']} {found['state']}")
    return output.rows(found["steps"], STEPS, as_json)


def _note(step: Step) -> str:
    return f"{step['error_class']}: {step['error_message']}" if step["error_class"] else step["note"]
