"""deploy: a version becomes the one that answers, and the command waits until it does."""

import time
from typing import Annotated

import typer

from aimass import Client, types
from aimass.cli import exits, output
from aimass.cli.models import DEPLOYMENTS, Model
from aimass.cli.session import client_of

AGAIN_SECONDS = 0.5


def deploy(
    context: typer.Context,
    model: Model,
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", min=1, help="The newest where none is named.")
    ] = None,
    instances: Annotated[str, typer.Option(metavar="MIN:MAX", help="How many processes each node gives it.")] = "",
    pin: Annotated[bool, typer.Option(help="Keep it in memory always; goes with --instances.")] = False,
    force: Annotated[str, typer.Option(metavar="REASON", help="Why to deploy without a passed evaluation.")] = "",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until it answers; 0 waits for nothing.")] = 120,
    as_json: output.AsJson = False,
) -> None:
    """Let a version answer: wait for its evaluation, promote it, and wait until it serves."""
    bounds = _bounds(instances) if instances or pin else None
    deadline = time.monotonic() + wait
    with client_of(context) as client:
        number = version or _newest(client, model)
        _promote(client, model, number, force, deadline)
        if bounds:
            client.set_resources(model, instances_min=bounds[0], instances_max=bounds[1], pinned=pin)
        found = _serving(client, model, number, deadline)
    if as_json:
        return output.document(found)
    return output.rows([found], DEPLOYMENTS, as_json)


def _bounds(instances: str) -> tuple[int, int]:
    least, _, most = (instances or "1").partition(":")
    try:
        return int(least), int(most or least)
    except ValueError:
        raise typer.BadParameter(f"'{instances}' is not MIN:MAX, such as 1:4", param_hint="--instances") from None


def _newest(client: Client, model: str) -> int:
    found = client.versions(model)
    if found:
        return found[0]["version"]
    return exits.leave(exits.NOT_FOUND, f"model '{model}' has no version: 'aimass train {model} --follow' makes one")


def _promote(client: Client, model: str, number: int, force: str, deadline: float) -> None:
    """Promote a version that is not the champion, once its evaluation has passed or without one by force."""
    version = client.version(model, number)
    while version["evaluation_passed"] is None and not force and "champion" not in version["aliases"]:
        _wait(deadline, f"version {number} of '{model}' is not evaluated yet")
        version = client.version(model, number)
    if "champion" in version["aliases"]:
        return
    if version["evaluation_passed"] is False and not force:
        exits.leave(exits.TASK_FAILED, _refusal(client, version))
    client.promote(model, number, force=force)


def _refusal(client: Client, version: types.Version) -> str:
    reasons = "; ".join(client.evaluation(version["evaluation_id"])["reasons"])
    what = f"version {version['version']} of '{version['model']}' did not pass its evaluation"
    return f"{what} ({reasons}): train another, or give a reason with --force"


def _serving(client: Client, model: str, number: int, deadline: float) -> types.Deployment:
    while True:
        found = next((each for each in client.deployments(model) if each["version"] == number), None)
        if found and found["state"] == "serving" and found["ready"]:
            return found
        note = found["note"] or found["state"] if found else "it is not deployed yet"
        _wait(deadline, f"version {number} of '{model}' is promoted and does not answer yet ({note})")


def _wait(deadline: float, what: str) -> None:
    if time.monotonic() >= deadline:
        raise TimeoutError(f"{what}: look again with 'aimass deployments', or wait longer with --wait")
    time.sleep(AGAIN_SECONDS)
