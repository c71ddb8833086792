"""Permissions and the fixed roles that grant them: the one table of who may do what."""

from collections.abc import Iterable
from enum import StrEnum
from functools import cache


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


DESCRIPTIONS: dict[Permission, str] = {
    Permission.MODELS_READ: "see models, versions, their cards and the library",
    Permission.MODELS_WRITE: "upload, import, archive and delete models and versions",
    Permission.MODELS_PROMOTE: "point an alias at a version, approve steps of pipelines",
    Permission.MODELS_FORCE: "make a version champion that passed no evaluation; needs models:promote too",
    Permission.ARTIFACTS_COLLECT: "delete files that nothing names any more",
    Permission.DATASETS_READ: "see data sets and indexes, and search in indexes",
    Permission.DATASETS_WRITE: "upload data sets, build and delete indexes",
    Permission.TASKS_READ: "see tasks, pipelines and schedules with their logs and metrics",
    Permission.TASKS_WRITE: "start, pause and cancel trainings and other tasks",
    Permission.EVALUATIONS_READ: "see evaluations and their verdicts",
    Permission.DEPLOYMENTS_READ: "see which versions serve, and where",
    Permission.DEPLOYMENTS_WRITE: "change what deployments may use",
    Permission.PREDICTIONS_READ: "see the log of predictions and results of batches",
    Permission.EVENTS_READ: "see and follow events",
    Permission.LETTERS_READ: "see messages that could not be handled",
    Permission.LETTERS_DECIDE: "replay or discard messages that could not be handled",
    Permission.EXTENSIONS_READ: "see extensions",
    Permission.EXTENSIONS_WRITE: "register, change and delete extensions",
    Permission.METRICS_READ: "see measurements of hosts and services",
    Permission.OPS_READ: "see the live pages of the services",
    Permission.AUDIT_READ: "see the audit, and have it verified",
    Permission.INFER: "ask models for predictions",
    Permission.KEYS_MANAGE: "make, see and revoke API keys, rotate the key that signs tokens",
    Permission.USERS_MANAGE: "manage users, groups, roles and grants",
    Permission.USAGE_READ: "see what the project uses, its prices, invoices and quotas",
    Permission.PRICES_MANAGE: "set the prices of the platform",
    Permission.QUOTAS_MANAGE: "set the quotas of projects, and see the use of all",
    Permission.PROJECTS_MANAGE: "make and archive projects, give the own one another title",
    Permission.MODELS_SHARE: "share models with other projects",
    Permission.PASSWORD_CHANGE: "change the own password",
}


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
    """All that these roles permit together; the same set for all that have the same roles."""
    return _granted(tuple(roles))


@cache
def _granted(roles: tuple[Role, ...]) -> frozenset[Permission]:
    return frozenset().union(*(GRANTS[role] for role in roles))
