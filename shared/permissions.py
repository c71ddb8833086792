"""Permissions and the fixed roles that grant them: the one table of who may do what."""

from collections.abc import Iterable
from enum import StrEnum


class Permission(StrEnum):
    """What a route can ask for; a route that declares none fails a test."""

    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    MODELS_PROMOTE = "models:promote"
    MODELS_FORCE = "models:force"
    MODELS_SHARE = "models:share"
    ARTIFACTS_COLLECT = "artifacts:collect"
    DATASETS_READ = "datasets:read"
    DATASETS_WRITE = "datasets:write"
    TASKS_READ = "tasks:read"
    TASKS_WRITE = "tasks:write"
    EVALUATIONS_READ = "evaluations:read"
    DEPLOYMENTS_READ = "deployments:read"
    DEPLOYMENTS_WRITE = "deployments:write"
    PREDICTIONS_READ = "predictions:read"
    EVENTS_READ = "events:read"
    LETTERS_READ = "letters:read"
    LETTERS_DECIDE = "letters:decide"
    EXTENSIONS_READ = "extensions:read"
    EXTENSIONS_WRITE = "extensions:write"
    METRICS_READ = "metrics:read"
    OPS_READ = "ops:read"
    AUDIT_READ = "audit:read"
    USAGE_READ = "usage:read"
    PRICES_MANAGE = "prices:manage"
    QUOTAS_MANAGE = "quotas:manage"
    INFER = "infer"
    KEYS_MANAGE = "keys:manage"
    USERS_MANAGE = "users:manage"
    PROJECTS_MANAGE = "projects:manage"
    PASSWORD_CHANGE = "password:change"  # noqa: S105


class Role(StrEnum):
    """The four fixed roles."""

    ADMIN = "admin"
    ENGINEER = "engineer"
    OPERATOR = "operator"
    VIEWER = "viewer"


_OPERATE = {Permission.OPS_READ, Permission.LETTERS_READ, Permission.EXTENSIONS_READ}
_VIEW = frozenset(permission for permission in Permission if permission.value.endswith(":read")) - _OPERATE
_VIEW -= {Permission.AUDIT_READ}
_VIEW |= {Permission.PASSWORD_CHANGE}
_READ = _VIEW | _OPERATE
GRANTS: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.ENGINEER: _READ
    | {Permission.INFER, Permission.TASKS_WRITE, Permission.MODELS_WRITE, Permission.MODELS_PROMOTE}
    | {Permission.DEPLOYMENTS_WRITE, Permission.DATASETS_WRITE, Permission.LETTERS_DECIDE},
    Role.OPERATOR: _READ
    | {Permission.INFER, Permission.TASKS_WRITE, Permission.DEPLOYMENTS_WRITE, Permission.LETTERS_DECIDE},
    Role.VIEWER: _VIEW,
}


def granted(roles: Iterable[Role]) -> frozenset[Permission]:
    """All that these roles permit together."""
    return frozenset().union(*(GRANTS[role] for role in roles))
