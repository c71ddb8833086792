"""Rules of roles and grants: denied by default, nothing beyond one's own, ends that end, and a last administrator."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.grants import domain
from services.auth.grants.domain import FOREVER, Actor
from services.gateway.access import authorise, check_sets_tags
from services.gateway.credentials import CredentialCache, CustomRole, Principal, Tagged
from services.gateway.explaining import explain
from shared.credentials import Credential
from shared.errors import Conflict, Forbidden, InvalidInput
from shared.grants import EVERYWHERE, Condition, HeldGrant, RoleEntry, role_entry_name
from shared.names import DEFAULT_PROJECT
from shared.permissions import GRANTS, Permission, Role, granted
from shared.sharing import tags_name

NOW = datetime.now(UTC)
PROJECTS = st.sampled_from([DEFAULT_PROJECT, "shop", "bank"])
SCOPES = st.sampled_from([DEFAULT_PROJECT, "shop", "bank", EVERYWHERE])
PERMISSIONS = st.sampled_from(Permission)
SOME = st.frozensets(PERMISSIONS, max_size=5)
ENDS = st.sampled_from([None, NOW - timedelta(days=1), NOW + timedelta(days=1)])
MODELS = st.sampled_from(["vision-a", "vision-b", "text-a", ""])
ALIASES = st.sampled_from(["champion", "staging", ""])
CONDITIONS = st.sampled_from(
    [
        None,
        Condition(models=("vision-*",)),
        Condition(aliases=("staging",)),
        Condition(models=("vision-a", "text-*"), aliases=("champion",)),
        Condition(tags=("x", "y")),
        Condition(models=("vision-*",), aliases=("staging",), tags=("x",)),
    ]
)
TAGGED = {"vision-a": frozenset("x"), "text-a": frozenset("yz")}
MADE = {
    "painter": frozenset({Permission.INFER, Permission.MODELS_PROMOTE}),
    "reader": frozenset({Permission.EVENTS_READ}),
}
ROLES = st.sampled_from([*(role.value for role in Role), *MADE, "unknown"])
HELD = st.builds(HeldGrant, id=st.uuids().map(str), role=ROLES, project=SCOPES, ends_at=ENDS, condition=CONDITIONS)
OWN = st.lists(st.sampled_from(Role), unique=True, max_size=2).map(tuple)


def permissions_of(role: str) -> frozenset[Permission]:
    return GRANTS[Role(role)] if role in {each.value for each in Role} else MADE.get(role, frozenset())


def cache_of(credential: Credential) -> CredentialCache:
    cache = CredentialCache(60)
    for name, permissions in MADE.items():
        entry = RoleEntry(name=name, project=EVERYWHERE, permissions=tuple(sorted(permissions)))
        cache.put(CustomRole(role_entry_name(EVERYWHERE, name), entry))
    for model in ("vision-a", "vision-b", "text-a"):
        cache.put(Tagged(tags_name("elsewhere", model), frozenset("xyz")))
        cache.put(Tagged(tags_name(credential.project, model), TAGGED.get(model, frozenset())))
    cache.put(Principal.of("x", credential))
    return cache


def is_allowed(principal: Principal, permission: Permission, model: str, alias: str) -> bool:
    try:
        authorise(principal, permission, model, alias)
    except Forbidden:
        return False
    return True


@given(st.lists(HELD, max_size=4), OWN, PROJECTS, PERMISSIONS, MODELS, ALIASES)
def test_gateways_allow_what_a_role_or_a_grant_allows_and_nothing_else(
    grants: list[HeldGrant], own: tuple[Role, ...], project: str, permission: Permission, model: str, alias: str
) -> None:
    credential = Credential(key_id="k", name="n", project=project, roles=own, grants=tuple(grants))
    principal = cache_of(credential).find("x")
    assert principal is not None
    wanted = permission in granted(own) or any(
        grant.project in (project, EVERYWHERE)
        and (grant.ends_at is None or grant.ends_at > NOW)
        and permission in permissions_of(grant.role)
        and grant.allows(permission, model, alias, TAGGED.get(model, frozenset()))
        for grant in grants
    )
    assert is_allowed(principal, permission, model, alias) == wanted
    assert explain(principal, permission, model, alias)[0] == wanted


@given(st.lists(HELD, max_size=4), OWN, PROJECTS, MODELS, st.frozensets(st.sampled_from("xyz")))
def test_nobody_may_do_more_by_setting_tags_himself_or_through_one_whom_he_lets(
    grants: list[HeldGrant], own: tuple[Role, ...], project: str, model: str, tags: frozenset[str]
) -> None:
    cache = cache_of(Credential(key_id="k", name="n", project=project, roles=own, grants=tuple(grants)))
    principal = cache.find("x")
    assert principal is not None
    asked = [(permission, alias) for permission in Permission for alias in ("champion", "staging", "")]
    before = {each for each in asked if is_allowed(principal, each[0], model, each[1])}
    cache.put(Tagged(tags_name(project, model), tags))
    after = {each for each in asked if is_allowed(principal, each[0], model, each[1])}
    actor = Actor(project, own, tuple((grant, permissions_of(grant.role)) for grant in grants))
    try:
        check_sets_tags(principal)
    except Forbidden:
        assert Permission.MODELS_WRITE not in domain.rights(actor, project, NOW)
    else:
        assert after == before


@given(PERMISSIONS, MODELS, ALIASES)
def test_who_has_nothing_may_do_nothing(permission: Permission, model: str, alias: str) -> None:
    principal = cache_of(Credential(key_id="k", name="n")).find("x")
    assert principal is not None and not is_allowed(principal, permission, model, alias)


@pytest.mark.parametrize(
    ("condition", "permission", "model", "alias", "allowed"),
    [
        ({"models": ["vision-*"]}, Permission.INFER, "vision-a", "", True),
        ({"models": ["vision-*"]}, Permission.INFER, "text-a", "", False),
        ({"models": ["vision-*"]}, Permission.INFER, "", "", False),
        ({"models": ["*"]}, Permission.DATASETS_WRITE, "", "", False),
        ({"models": ["d*", "*"]}, Permission.INFER, "default.secret", "", False),
        ({"models": ["shop.vision-*"]}, Permission.INFER, "shop.vision-a", "", True),
        ({"models": ["shop.vision-*"]}, Permission.INFER, "vision-a", "", False),
        ({"aliases": ["staging"]}, Permission.INFER, "text-a", "", True),
        ({"aliases": ["staging"]}, Permission.MODELS_PROMOTE, "a", "staging", True),
        ({"aliases": ["staging"]}, Permission.MODELS_PROMOTE, "a", "champion", False),
        ({"aliases": ["staging"]}, Permission.MODELS_PROMOTE, "a", "", False),
        ({"models": ["a"], "aliases": ["staging"]}, Permission.MODELS_PROMOTE, "b", "staging", False),
        ({"tags": ["x"]}, Permission.MODELS_PROMOTE, "a", "champion", False),
    ],
)
def test_conditions(condition: dict[str, Any], permission: Permission, model: str, alias: str, allowed: bool) -> None:
    assert Condition(**condition).allows(permission, model, alias) == allowed


def test_a_condition_says_something() -> None:
    with pytest.raises(ValueError, match="names models, aliases or tags"):
        Condition()


@given(st.lists(HELD, max_size=4), OWN, PROJECTS, SCOPES, SOME, st.sampled_from([None, NOW + timedelta(hours=1)]))
def test_nobody_passes_on_more_than_he_has(
    grants: list[HeldGrant],
    own: tuple[Role, ...],
    home: str,
    scope: str,
    wanted: frozenset[Permission],
    ends_at: datetime | None,
) -> None:
    """Whatever passes, its giver could use the same there himself, until then, whatever the model and the alias."""
    actor = Actor(home, own, tuple((grant, permissions_of(grant.role)) for grant in grants))
    try:
        domain.check_covers(domain.rights(actor, scope, NOW), wanted, ends_at)
    except Forbidden:
        return
    places = {EVERYWHERE, DEFAULT_PROJECT if scope == EVERYWHERE else scope}
    for permission in wanted:
        by_role = home in places and permission in granted(own)
        by_grant = any(
            grant.project in places
            and permission in grant.free(permissions_of(grant.role))
            and (grant.ends_at is None or (grant.ends_at > NOW and ends_at is not None and grant.ends_at >= ends_at))
            for grant in grants
        )
        assert by_role or by_grant


def test_what_ends_is_passed_on_until_then() -> None:
    grant = HeldGrant(id="g", role="admin", project="shop", ends_at=NOW + timedelta(days=1))
    rights = domain.rights(Actor("bank", (), ((grant, GRANTS[Role.ADMIN]),)), "shop", NOW)
    domain.check_covers(rights, {Permission.INFER}, NOW + timedelta(hours=1))
    with pytest.raises(Forbidden, match="only until") as refused:
        domain.check_covers(rights, {Permission.INFER})
    assert refused.value.field == "ends_at"


def test_the_projects_of_others_are_not_ones_own() -> None:
    admin = Actor("shop", (Role.ADMIN,))
    assert domain.rights(admin, "shop", NOW) == dict.fromkeys(Permission, FOREVER)
    assert not domain.rights(admin, "bank", NOW) and not domain.rights(admin, EVERYWHERE, NOW)
    platform = Actor(DEFAULT_PROJECT, (Role.ADMIN,))
    assert domain.rights(platform, EVERYWHERE, NOW) and not domain.rights(platform, "bank", NOW)
    with pytest.raises(Forbidden, match="whole platform"):
        domain.check_platform(domain.rights(admin, EVERYWHERE, NOW))


@given(st.frozensets(SCOPES), st.frozensets(SCOPES))
def test_no_project_and_not_the_platform_loses_its_last_administrator(
    before: frozenset[str], after: frozenset[str]
) -> None:
    platform = {EVERYWHERE, DEFAULT_PROJECT}
    lost = [project for project in ("shop", "bank") if project in before and not after & {project, EVERYWHERE}]
    lost += ["platform"] if before & platform and not after & platform else []
    with pytest.raises(Conflict, match="last administrator") if lost else nullcontext():
        domain.check_admins(before, after)


def test_ends_lie_in_the_future() -> None:
    domain.check_end(None, NOW)
    with pytest.raises(InvalidInput):
        domain.check_end(NOW, NOW)


@pytest.mark.parametrize("role", Role)
def test_built_in_roles_are_nobodys(role: Role) -> None:
    with pytest.raises(Conflict, match="built-in"):
        domain.check_made(role.value)


def test_a_grant_ends_at_its_time_without_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    end = NOW + timedelta(hours=1)
    grant = HeldGrant(id="g", role="operator", project="default", ends_at=end)
    cache = cache_of(Credential(key_id="k", name="n", grants=(grant,)))
    found = cache.find("x")
    assert found is not None and Permission.INFER in found.permissions and cache.find("x") is found
    monkeypatch.setattr("services.gateway.credentials.time.time", end.timestamp)
    later = cache.find("x")
    assert later is not None and not later.permissions and not later.held


def test_a_changed_role_counts_at_the_next_look() -> None:
    grant = HeldGrant(id="g", role="reader", project="default")
    cache = cache_of(Credential(key_id="k", name="n", grants=(grant,)))
    name = role_entry_name(EVERYWHERE, "reader")

    def found() -> frozenset[Permission]:
        principal = cache.find("x")
        assert principal is not None
        return principal.permissions

    assert found() == {Permission.EVENTS_READ}
    cache.put(CustomRole(name, RoleEntry(name="reader", project=EVERYWHERE, permissions=("infer", "of:tomorrow"))))
    assert found() == {Permission.INFER}
    cache.remove(name)
    assert found() == frozenset()


def test_a_user_works_elsewhere_by_grants_alone() -> None:
    grants = (HeldGrant(id="g", role="viewer", project="shop"),)
    cache = cache_of(Credential(key_id="k", name="n", roles=(Role.ADMIN,), grants=grants))
    elsewhere = cache.find("x", "shop")
    assert elsewhere is not None and elsewhere.project == "shop"
    assert elsewhere.permissions == GRANTS[Role.VIEWER]
    assert cache.find("x", "bank") is None
    assert cache.find("x") == cache.find("x", DEFAULT_PROJECT)
