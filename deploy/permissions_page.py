"""docs/permissions.md: how rights are given, and which role permits what, from the table in the code."""

from collections.abc import Iterator

from deploy.markdown import table
from shared.permissions import DESCRIPTIONS, GRANTS, Permission, Role

INTRODUCTION = """# Permissions

Who asks has an API key or logged in, and works in one project. What is allowed there is the sum of the **roles** that
the user or the key has of itself and of its **grants**. Whatever neither gives is refused. Every gateway decides from
its own memory; a change is there within a second, and an end (`--until`) needs no message at all.

    $ aimass roles make labeller datasets:read datasets:write --description "brings data sets"
    $ aimass grants add labeller --user 01a222ab-218c-7434-907b-0e27ebe8be4e --until 2030-01-31T12:00:00Z
    $ aimass groups make vision
    $ aimass groups add vision 01a222ab-218c-7434-907b-0e27ebe8be4e
    $ aimass grants add engineer --group 01a222ac-3d7e-7a30-9d0e-6f1f0c6a7c11 --model 'vision-*' --alias staging
    $ aimass can models:promote --as 01a222ab-218c-7434-907b-0e27ebe8be4e --model vision-cars --alias champion
    no: this needs the permission 'models:promote', which you have for models vision-* and aliases staging (grant …)

- **Roles** are sets of permissions: the built-in ones below, those of a project, and those of the platform
  (`platform`). Nobody changes, deletes or shadows a built-in role. A role that is granted cannot be deleted: 409
  names who has it.
- **Groups** hold users; what is granted to a group, each member has.
- **Grants** give a role to a user, a group or an API key, in the project or (`platform`) everywhere, maybe until a
  time and under a condition. The `roles` of users and keys are shown beside them, without an id.
- **Conditions**: with `models` (patterns as in a shell) a grant counts only where a request names such a model: in
  its path, or as `model` in the JSON of `POST /api/v1/tasks`, `/v1/embeddings` and `/v1/audio/speech`. Lists, and
  whatever names no model, need a grant without `models`. With `tags` it counts only for models of the project that
  have one of these (`aimass tag digits-cnn ready`); who has such a grant cannot set tags. With `aliases` versions are
  promoted to these aliases alone; everything else of the role counts. A model of another project is named with it:
  `shop.vision-*`, and `*.*` for all.
- **Nobody passes on more than he has** himself, without a condition and as long as it lasts: not by a grant, a role,
  a group, a new user or key, or the password of somebody who may do more.
- **The last administrator** of a project, and of the platform, stays: 409 says what to do first. An administrator has
  the role `admin`, of itself or by a grant without a condition, and is active.
- The project `default` runs the platform: who manages users there may make roles and grants for all projects.

`GET /api/v1/me/permissions` (`aimass can`) tells what you may do and where you have it from; `POST
/api/v1/permissions/check` (`aimass can PERMISSION`) answers for one thing, and for others with `users:manage`, by the
same code that decides requests. Each change is an event of the domain identity and stands in the audit. Why it is so:
`docs/decisions/0055-grants-in-memory.md`.

## What the built-in roles permit
"""


def permissions_page() -> Iterator[str]:
    yield INTRODUCTION
    rows = (
        [
            f"`{permission.value}`",
            DESCRIPTIONS[permission],
            *("yes" if permission in GRANTS[role] else "" for role in Role),
        ]
        for permission in Permission
    )
    yield from table(("permission", "to", *(role.value for role in Role)), rows)
