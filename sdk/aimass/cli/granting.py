"""roles, groups, grants, can: who may do what, and why."""

from typing import Annotated

import typer

from aimass.cli import exits, output
from aimass.cli.session import client_of
from aimass.granting import Condition

Name = Annotated[str, typer.Argument(metavar="NAME")]
Permissions = Annotated[list[str], typer.Argument(metavar="PERMISSION...", help="Such as models:read infer.")]
Description = Annotated[str, typer.Option(help="What the role is for.")]
Platform = Annotated[bool, typer.Option("--platform", help="For all projects; for those who run the platform.")]
UserId = Annotated[str, typer.Argument(metavar="ID", help="Of a user or a service account.")]
User = Annotated[str | None, typer.Option(help="To this user, by id.")]
GroupId = Annotated[str | None, typer.Option("--group", help="To this group, by id.")]
Account = Annotated[str | None, typer.Option(help="To this service account, by id.")]
Key = Annotated[str | None, typer.Option(help="To this API key, by id.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="For models of this name, such as 'vision-*'; repeat.")
]
Aliases = Annotated[list[str] | None, typer.Option("--alias", help="Promote to this alias alone; repeat it.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="For models that have this tag; repeat it.")]
ROLES: output.Columns = {
    "NAME": lambda found: found["name"],
    "OF": lambda found: "built in" if found["built_in"] else found["project"],
    "PERMISSIONS": lambda found: ", ".join(found["permissions"]),
}
GROUPS: output.Columns = {
    "NAME": lambda found: found["name"],
    "ID": lambda found: found["id"],
    "MEMBERS": lambda found: ", ".join(found["members"]),
}
GRANTS: output.Columns = {
    "ID": lambda found: found["id"] or "(own role)",
    "ROLE": lambda found: found["role"],
    "IN": lambda found: found["project"],
    "TO": lambda found: f"{found['subject_kind']} {found['subject_name'] or found['subject_id']}",
    "UNTIL": lambda found: output.moment(found["ends_at"]),
    "ONLY FOR": lambda found: _limits(found["condition"]),
}
SOURCES: output.Columns = {
    "PERMISSION": lambda found: found["permission"],
    "ROLE": lambda found: found["role"],
    "GRANT": lambda found: found["grant"],
    "UNTIL": lambda found: output.moment(found["until"]),
    "ONLY FOR": lambda found: _limits(found["condition"]),
}

roles = typer.Typer(name="roles", no_args_is_help=True, help="Roles: sets of permissions, built in or made.")
groups = typer.Typer(
    name="groups", no_args_is_help=True, help="Groups of users and service accounts, to grant roles to."
)
grants = typer.Typer(
    name="grants", no_args_is_help=True, help="Grants of roles to users, groups, service accounts and API keys."
)


@roles.command("list")
def list_roles(context: typer.Context, as_json: output.AsJson = False) -> None:
    """List the roles that can be granted."""
    with client_of(context) as client:
        output.rows(client.roles(), ROLES, as_json)


@roles.command("make")
def make_role(
    context: typer.Context,
    name: Name,
    permissions: Permissions,
    description: Description = "",
    platform: Platform = False,
) -> None:
    """Make a role of permissions that you have."""
    with client_of(context) as client:
        made = client.create_role(name, permissions, description=description, platform=platform)
        output.rows([made], ROLES, False)


@roles.command("change")
def change_role(context: typer.Context, name: Name, permissions: Permissions, description: Description = "") -> None:
    """Let a role permit these instead; who has it notices within a second."""
    with client_of(context) as client:
        output.rows([client.change_role(name, permissions, description=description)], ROLES, False)


@roles.command("delete")
def delete_role(context: typer.Context, name: Name) -> None:
    """Forget a role that nobody has."""
    with client_of(context) as client:
        client.delete_role(name)


@groups.command("list")
def list_groups(context: typer.Context, as_json: output.AsJson = False) -> None:
    """List groups with their members."""
    with client_of(context) as client:
        output.rows(client.groups(), GROUPS, as_json)


@groups.command("make")
def make_group(context: typer.Context, name: Name) -> None:
    """Make a group without members."""
    with client_of(context) as client:
        output.rows([client.create_group(name)], GROUPS, False)


@groups.command("delete")
def delete_group(context: typer.Context, name: Name) -> None:
    """Forget a group with what was granted to it."""
    with client_of(context) as client:
        client.delete_group(name)


@groups.command("add")
def add_member(context: typer.Context, name: Name, user_id: UserId) -> None:
    """Let a user or a service account have what is granted to the group."""
    with client_of(context) as client:
        output.rows([client.add_member(name, user_id)], GROUPS, False)


@groups.command("remove")
def remove_member(context: typer.Context, name: Name, user_id: UserId) -> None:
    """Let a user or a service account have it no more."""
    with client_of(context) as client:
        output.rows([client.remove_member(name, user_id)], GROUPS, False)


@grants.command("list")
def list_grants(
    context: typer.Context,
    role: Annotated[str | None, typer.Option(help="Of this role alone.")] = None,
    holder: Annotated[
        str | None, typer.Option(help="Of this user, group, service account or key alone, by id.")
    ] = None,
    as_json: output.AsJson = False,
) -> None:
    """List who has which role, also of themselves."""
    with client_of(context) as client:
        output.rows(client.grants(role=role, subject_id=holder), GRANTS, as_json)


@grants.command("add")
def add_grant(
    context: typer.Context,
    role: Annotated[str, typer.Argument(metavar="ROLE")],
    user: User = None,
    group: GroupId = None,
    account: Account = None,
    key: Key = None,
    model: Models = None,
    alias: Aliases = None,
    tag: Tags = None,
    until: Annotated[str | None, typer.Option(help="When it ends, such as 2030-01-31T12:00:00Z.")] = None,
    platform: Platform = False,
) -> None:
    """Grant a role to a user, a group, a service account or an API key, never more than you have."""
    given = {"user": user, "group": group, "account": account, "key": key}
    named = [(kind, subject) for kind, subject in given.items() if subject]
    if len(named) != 1:
        raise typer.BadParameter("name one: --user, --group, --account or --key")
    condition: Condition = {"models": model or [], "aliases": alias or [], "tags": tag or []}
    only_for = condition if model or alias or tag else None
    with client_of(context) as client:
        output.rows(
            [client.add_grant(role, *named[0], platform=platform, ends_at=until, condition=only_for)], GRANTS, False
        )


@grants.command("revoke")
def revoke_grant(context: typer.Context, grant_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Take a grant back."""
    with client_of(context) as client:
        client.revoke_grant(grant_id)


def can(
    context: typer.Context,
    permission: Annotated[str | None, typer.Argument(help="Such as infer; all that you have without one.")] = None,
    subject: Annotated[
        str | None, typer.Option("--as", help="Another user, service account or API key, by id.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="With this model.")] = None,
    alias: Annotated[str | None, typer.Option(help="To this alias.")] = None,
    as_json: output.AsJson = False,
) -> None:
    """Tell whether you, or somebody else, may do something, and why; without a permission all that you may."""
    with client_of(context) as client:
        if permission is None:
            return output.rows(client.own_permissions(), SOURCES, as_json)
        verdict = client.can(permission, subject=subject, model=model, alias=alias)
    if as_json:
        output.document(verdict)
    else:
        output.line(("yes: " if verdict["allowed"] else "no: ") + verdict["why"])
    raise typer.Exit(0 if verdict["allowed"] else exits.NOT_ALLOWED)


def _limits(condition: Condition | None) -> str:
    found = condition or {}
    named = {"models": found.get("models"), "tags": found.get("tags"), "aliases": found.get("aliases")}
    return "; ".join(f"{what} {', '.join(names)}" for what, names in named.items() if names)
