"""Permissions and roles: what holds for any table of them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from shared.permissions import GRANTS, Permission, Role, granted

ROLES = st.lists(st.sampled_from(Role))


@given(some=ROLES, more=ROLES)
def test_roles_together_permit_what_each_permits(some: list[Role], more: list[Role]) -> None:
    assert granted(some + more) == granted(some) | granted(more)
    assert granted(some) == frozenset(p for role in some for p in GRANTS[role])


def test_no_role_permits_nothing() -> None:
    assert granted([]) == frozenset()


def test_each_role_has_its_place() -> None:
    order = [Role.VIEWER, Role.OPERATOR, Role.ENGINEER, Role.ADMIN]
    assert set(order) == set(Role) == set(GRANTS)
    assert all(GRANTS[lower] < GRANTS[higher] for lower, higher in zip(order, order[1:], strict=False))
    assert GRANTS[Role.ADMIN] == frozenset(Permission)


def test_only_admins_manage_keys() -> None:
    assert [role for role in Role if Permission.KEYS_MANAGE in GRANTS[role]] == [Role.ADMIN]


def test_a_viewer_changes_nothing_but_the_own_password() -> None:
    changing = {permission for permission in GRANTS[Role.VIEWER] if not permission.value.endswith(":read")}
    assert changing == {Permission.PASSWORD_CHANGE}


def test_names_are_uniform() -> None:
    assert all(re.fullmatch(r"[a-z]+(:[a-z]+)?", permission.value) for permission in Permission)
