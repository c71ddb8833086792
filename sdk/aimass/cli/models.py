"""library, data, models, versions, promote, deployments."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from aimass.cli import output
from aimass.cli.session import client_of
from aimass.cli.tasks import Follow, Limit
from aimass.cli.training import submitted

Name = Annotated[str, typer.Argument(metavar="NAME", help="Show this one alone.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Version = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version's number.")]
Tags = Annotated[list[str] | None, typer.Argument(metavar="TAG...", help="All that it shall have, or none.")]
MEMBERS: output.Columns = {
    "NAME": lambda member: member["name"],
    "TASK": lambda member: member["task_type"],
    "DATA SET": lambda member: member["dataset"],
    "TITLE": lambda member: member["card"].get("title", ""),
}
DATASETS: output.Columns = {
    "NAME": lambda found: found["name"],
    "DIGEST": lambda found: found["digest"][:12],
    "CREATED": lambda found: output.moment(found["created_at"]),
}
MODELS: output.Columns = {
    "NAME": lambda model: model["name"],
    "TASK": lambda model: model["task_type"],
    "VERSIONS": lambda model: model["versions"],
    "ALIASES": lambda model: ", ".join(f"{alias}={number}" for alias, number in model["aliases"].items()),
    "TAGS": lambda model: ", ".join(model["tags"]),
    "UPDATED": lambda model: output.moment(model["updated_at"]),
}
VERSIONS: output.Columns = {
    "VERSION": lambda version: version["version"],
    "ALIASES": lambda version: version["aliases"],
    "PASSED": lambda version: version["evaluation_passed"],
    "METRICS": lambda version: _shown(version["metrics"]),
    "SOURCE": lambda version: version["source"],
    "CREATED": lambda version: output.moment(version["created_at"]),
}
DEPLOYMENTS: output.Columns = {
    "MODEL": lambda deployment: deployment["model"],
    "VERSION": lambda deployment: deployment["version"],
    "STATE": lambda deployment: deployment["state"],
    "READY": lambda deployment: deployment["ready"],
    "NOTE": lambda deployment: deployment["note"],
    "UPDATED": lambda deployment: output.moment(deployment["updated_at"]),
}


def library(context: typer.Context, name: Name = "", as_json: output.AsJson = False) -> None:
    """List the members of the library, which can be trained, or show one with the values of its config."""
    with client_of(context) as client:
        if not name:
            return output.rows(client.library(), MEMBERS, as_json)
        member = client.member(name)
    if as_json:
        return output.document(member)
    for fact in ("name", "task_type", "dataset"):
        output.line(f"{fact:<12}  {member[fact]}")
    for fact, text in member["card"].items():
        output.line(f"{fact:<12}  {output.cell(text)}")
    output.line("")
    return output.rows(_settings(member["config_schema"]), SETTINGS, as_json)


SETTINGS: output.Columns = {
    "--set": lambda setting: setting["name"],
    "TYPE": lambda setting: setting["type"],
    "DEFAULT": lambda setting: setting["default"],
    "FROM": lambda setting: setting["least"],
    "TO": lambda setting: setting["most"],
}


def data(
    context: typer.Context,
    name: Name = "",
    file: Annotated[Path | None, typer.Option("--bring", help="Bring this file of rows as the data set.")] = None,
    like: Annotated[str, typer.Option(help="With --bring: the data set whose columns and labels the file has.")] = "",
    follow: Follow = False,
    as_json: output.AsJson = False,
) -> None:
    """List data sets, show one, or bring one."""
    with client_of(context) as client:
        if file is not None:
            if not (name and like):
                raise typer.BadParameter("give the data set a name, and one that it is --like", param_hint="--bring")
            return submitted(client, client.bring_dataset(name, file, like=like), follow, as_json)
        if name:
            return output.facts(client.dataset(name), as_json)
        return output.rows(client.datasets(), DATASETS, as_json)


def models(
    context: typer.Context,
    name: Name = "",
    tag: Annotated[str | None, typer.Option(help="Those that have this tag alone.")] = None,
    as_of: output.AsOf = None,
    as_json: output.AsJson = False,
) -> None:
    """List models, or show one; now, or at a time."""
    with client_of(context) as client:
        if name:
            return output.facts(client.model(name, as_of=as_of), as_json)
        return output.rows(client.models(tag=tag, as_of=as_of), MODELS, as_json)


def tag(
    context: typer.Context,
    model: Model,
    tags: Tags = None,
    as_json: output.AsJson = False,
) -> None:
    """Let a model have these tags and no others; grants may be limited to tags."""
    with client_of(context) as client:
        output.facts(client.set_tags(model, tags or []), as_json)


def versions(
    context: typer.Context,
    model: Model,
    version: Annotated[int | None, typer.Argument(metavar="VERSION", min=1, help="Show this one alone.")] = None,
    limit: Limit = 20,
    as_json: output.AsJson = False,
) -> None:
    """List the versions of a model, newest first, or show one."""
    with client_of(context) as client:
        if version is not None:
            return output.facts(client.version(model, version), as_json)
        found = list(islice(client.each_version(model, page=min(limit, 200)), limit))
    return output.rows(found, VERSIONS, as_json)


def promote(
    context: typer.Context,
    model: Model,
    version: Version,
    alias: Annotated[str, typer.Option(help="The alias that is to name the version.")] = "champion",
    expected: Annotated[int | None, typer.Option(min=1, help="Only if the alias names this version now.")] = None,
    force: Annotated[str, typer.Option(metavar="REASON", help="Why to promote without a passed evaluation.")] = "",
    as_json: output.AsJson = False,
) -> None:
    """Let an alias name a version; the champion is the version that answers."""
    with client_of(context) as client:
        promoted = client.promote(model, version, alias, expected=expected, force=force)
    output.rows([promoted], VERSIONS, False) if not as_json else output.document(promoted)


def deployments(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Only of this model.")] = None,
    as_of: output.AsOf = None,
    as_json: output.AsJson = False,
) -> None:
    """List which versions are deployed, and in which state; now, or at a time."""
    with client_of(context) as client:
        output.rows(client.deployments(model, as_of=as_of), DEPLOYMENTS, as_json)


def _shown(metrics: dict[str, float]) -> str:
    """The figures on validation data where there are some, else all."""
    known = {name.removeprefix("validation_"): value for name, value in metrics.items() if "validation_" in name}
    return ", ".join(f"{name} {value:.4g}" for name, value in (known or metrics).items())


def _settings(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The values of a config, from its JSON schema."""
    return [
        {
            "name": name,
            "type": found.get("type") or "",
            "default": found.get("default"),
            "least": found.get("minimum"),
            "most": found.get("maximum"),
        }
        for name, found in schema.get("properties", {}).items()
    ]
