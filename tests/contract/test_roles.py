"""The golden matrix of roles and permissions: every grant shows in review."""

from shared.permissions import DESCRIPTIONS, GRANTS, Permission, Role

ADMIN, ENGINEER, OPERATOR, VIEWER = Role.ADMIN, Role.ENGINEER, Role.OPERATOR, Role.VIEWER

GOLDEN: dict[Permission, set[Role]] = {
    Permission.MODELS_READ: {ADMIN, ENGINEER, OPERATOR, VIEWER},
    Permission.MODELS_WRITE: {ADMIN, ENGINEER},
    Permission.MODELS_PROMOTE: {ADMIN, ENGINEER},
    Permission.MODELS_FORCE: {ADMIN},
    Permission.MODELS_SHARE: {ADMIN},
    Permission.ARTIFACTS_COLLECT: {ADMIN},
    Permission.DATASETS_READ: {ADMIN, ENGINEER, OPERATOR, VIEWER},
    Permission.DATASETS_WRITE: {ADMIN, ENGINEER},
    Permission.TASKS_READ: {ADMIN, ENGINEER, OPERATOR, VIEWER},
    Permission.TASKS_WRITE: {ADMIN, ENGINEER, OPERATOR},
    Permission.EVALUATIONS_READ: {ADMIN, ENGINEER, OPERATOR, VIEWER},
    Permission.DEPLOYMENTS_READ: {ADMIN, ENGINEER, OPERATOR, VIEWER},
    Permission.DEPLOYMENTS_WRITE: {ADMIN, ENGINEER, OPERATOR},
    Permission.PREDICTIONS_READ: {ADMIN, ENGINEER, OPERATOR, VIEWER},
    Permission.EVENTS_READ: {ADMIN, ENGINEER, OPERATOR, VIEWER},
    Permission.LETTERS_READ: {ADMIN, ENGINEER, OPERATOR},
    Permission.LETTERS_DECIDE: {ADMIN, ENGINEER, OPERATOR},
    Permission.EXTENSIONS_READ: {ADMIN, ENGINEER, OPERATOR},
    Permission.EXTENSIONS_WRITE: {ADMIN},
    Permission.METRICS_READ: {ADMIN, ENGINEER, OPERATOR, VIEWER},
    Permission.OPS_READ: {ADMIN, ENGINEER, OPERATOR},
    Permission.AUDIT_READ: {ADMIN},
    Permission.USAGE_READ: {ADMIN, ENGINEER, OPERATOR, VIEWER},
    Permission.PRICES_MANAGE: {ADMIN},
    Permission.QUOTAS_MANAGE: {ADMIN},
    Permission.INFER: {ADMIN, ENGINEER, OPERATOR},
    Permission.KEYS_MANAGE: {ADMIN},
    Permission.USERS_MANAGE: {ADMIN},
    Permission.PROJECTS_MANAGE: {ADMIN},
    Permission.PASSWORD_CHANGE: {ADMIN, ENGINEER, OPERATOR, VIEWER},
}


def test_each_permission_says_what_it_is_for() -> None:
    assert set(DESCRIPTIONS) == set(Permission)


def test_the_table_grants_what_was_reviewed() -> None:
    found = {permission: {role for role in Role if permission in GRANTS[role]} for permission in Permission}
    assert found == GOLDEN
