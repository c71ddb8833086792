"""projects and share: tenants, and the models that they share."""

from typing import Annotated

import typer

from aimass.cli import output
from aimass.cli.session import client_of

Name = Annotated[str, typer.Argument(metavar="NAME", help="The project's name.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model of the own project.")]
PROJECTS: output.Columns = {
    "NAME": lambda found: found["name"],
    "TITLE": lambda found: found["title"],
    "CREATED": lambda found: output.moment(found["created_at"]),
    "ARCHIVED": lambda found: output.moment(found["archived_at"]),
}
SHARES: output.Columns = {
    "ID": lambda found: found["id"],
    "MODEL": lambda found: found["model"],
    "WITH": lambda found: found["shared_to"],
    "LEVEL": lambda found: found["level"],
    "CREATED": lambda found: output.moment(found["created_at"]),
}

app = typer.Typer(name="projects", no_args_is_help=True, help="Projects: tenants that see nothing of each other.")
shares = typer.Typer(name="share", no_args_is_help=True, help="Models that other projects may read or ask.")


@app.command("list")
def list_projects(context: typer.Context, as_json: output.AsJson = False) -> None:
    """List the projects: all to people of `default`, their own to others."""
    with client_of(context) as client:
        output.rows(client.projects(), PROJECTS, as_json)


@app.command()
def create(
    context: typer.Context,
    name: Name,
    title: Annotated[str, typer.Option(help="What people read.")] = "",
    user: Annotated[str, typer.Option(help="A new user as its first administrator, instead of an API key.")] = "",
) -> None:
    """Make a project, and print it with its first administrator as JSON, this once: keep the secret in a file."""
    with client_of(context) as client:
        output.document(client.create_project(name, title=title, user=user or None))


@app.command("title")
def set_title(context: typer.Context, name: Name, title: Annotated[str, typer.Argument(metavar="TITLE")]) -> None:
    """Give a project another title."""
    with client_of(context) as client:
        output.rows([client.change_project(name, title=title)], PROJECTS, False)


@app.command()
def archive(context: typer.Context, name: Name) -> None:
    """Let nobody of it in any more; all that it has stays."""
    with client_of(context) as client:
        output.rows([client.change_project(name, archived=True)], PROJECTS, False)


@app.command()
def restore(context: typer.Context, name: Name) -> None:
    """Open an archived project again."""
    with client_of(context) as client:
        output.rows([client.change_project(name, archived=False)], PROJECTS, False)


@shares.command("list")
def list_shares(context: typer.Context, model: Model, as_json: output.AsJson = False) -> None:
    """List with whom a model is shared."""
    with client_of(context) as client:
        output.rows(client.shares(model), SHARES, as_json)


@shares.command()
def add(
    context: typer.Context,
    model: Model,
    shared_to: Annotated[str, typer.Argument(metavar="PROJECT", help="Another project, or '*' for everybody.")],
    read: Annotated[bool, typer.Option("--read", help="To look at only, without predictions.")] = False,
) -> None:
    """Share a model; there it is named <project>.<model>."""
    with client_of(context) as client:
        output.rows([client.share_model(model, shared_to, "read" if read else "infer")], SHARES, False)


@shares.command()
def remove(
    context: typer.Context, model: Model, share_id: Annotated[str, typer.Argument(metavar="ID", help="The share's id.")]
) -> None:
    """Share a model no more."""
    with client_of(context) as client:
        client.unshare_model(model, share_id)
