"""The command `aimass`: all commands by theme."""

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from aimass.cli import (
    access,
    deploying,
    exits,
    extending,
    granting,
    happenings,
    identity,
    keys,
    metering,
    models,
    operating,
    pipelines,
    predicting,
    profiles,
    providers,
    scheduling,
    tasks,
    tenants,
    tracing,
    training,
    tuning,
)
from aimass.cli.session import Wanted

COMMANDS = (
    *(access.login, access.logout, access.whoami, identity.invite, granting.can),
    *(models.library, models.data),
    *(training.train, tuning.tune, tuning.study, tasks.tasks, tasks.logs, tasks.metrics, tasks.curves),
    *(tasks.cancel, tasks.pause, tasks.resume, training.clone, training.reproduce, tasks.note),
    *(scheduling.schedule, scheduling.schedules, scheduling.unschedule),
    *(models.models, models.tag, models.versions, models.promote, deploying.deploy, models.deployments),
    *(predicting.predict, happenings.events, tracing.trace),
    *(metering.usage, metering.invoice),
)
GROUPS = (
    *(granting.roles, granting.groups, granting.grants, *identity.GROUPS, providers.app),
    *(keys.app, pipelines.app, extending.app, operating.letters, operating.audit, metering.quota),
    *(tenants.app, tenants.shares),
)


class Commands(TyperGroup):
    """Commands whose failures end with a code and one sentence."""

    def invoke(self, ctx: Any) -> Any:
        with exits.told():
            return super().invoke(ctx)


app = typer.Typer(
    name="aimass",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they would print the values of variables, keys too
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _told_version(wanted: bool) -> None:
    if wanted:
        typer.echo(_version())
        raise typer.Exit


def _version() -> str:
    try:
        return version("aimass")
    except PackageNotFoundError:
        return "of a checkout"


@app.callback()
def start(
    context: typer.Context,
    profile: Annotated[
        str, typer.Option(envvar=profiles.PROFILE, help="Which of the kept logins to use.")
    ] = profiles.DEFAULT,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one request may take, with its retries.")] = 30,
    version: Annotated[
        bool, typer.Option("--version", callback=_told_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """AI Mass from the command line: train models, follow tasks, deploy versions, ask them.

    Codes: 0 done, 1 a task failed or a version did not pass, 2 wrong usage or input, 3 not there, 4 not allowed, 5 not
    reachable, 6 the state does not allow it, 7 refused otherwise, 130 interrupted.
    """
    context.obj = Wanted(profile, timeout)


for _command in COMMANDS:
    app.command()(_command)
for _group in GROUPS:
    app.add_typer(_group)


def main() -> None:
    """Run the command line."""
    app(prog_name="aimass")
