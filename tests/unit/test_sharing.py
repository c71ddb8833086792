"""Projects and shared models: who may see, change, enter and ask what."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth import users
from services.auth.projects import domain
from services.auth.projects.domain import Project, Share
from services.inference.prediction_log import logged_as
from shared.errors import Conflict, Forbidden, InvalidInput, NotFound
from shared.grants import HeldGrant
from shared.names import DEFAULT_PROJECT, is_model_name
from shared.permissions import Role
from shared.rpc.projects import ChangeProject
from shared.sharing import EVERYBODY, Level, called, credential, owned

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True)
LEVELS: st.SearchStrategy[Level] = st.sampled_from(["read", "infer"])
SHARES = st.dictionaries(NAMES | st.just(EVERYBODY), LEVELS, max_size=6)


def project(name: str = "blue", archived_at: datetime | None = None) -> Project:
    return Project(name, "", "ada", NOW, archived_at)


@given(shares=SHARES, asker=NAMES)
def test_a_share_allows_what_was_shared_and_predictions_include_reading(shares: dict[str, Level], asker: str) -> None:
    made = [Share("1", "blue", "m", to, level, "ada", NOW) for to, level in shares.items()]
    together = domain.shared(made)
    given_levels = {level for to, level in shares.items() if to in (asker, EVERYBODY)}
    assert together.allows(asker, "infer") == ("infer" in given_levels)
    assert together.allows(asker, "read") == bool(given_levels)


@given(name=NAMES, of=NAMES)
def test_a_project_is_visible_to_its_own_people_and_the_platforms(name: str, of: str) -> None:
    domain.check_visible(name, DEFAULT_PROJECT)
    domain.check_visible(of, of)
    if of not in (name, DEFAULT_PROJECT):
        with pytest.raises(NotFound):
            domain.check_visible(name, of)


@given(of=NAMES.filter(lambda name: name != DEFAULT_PROJECT), archived=st.booleans())
def test_only_the_platforms_people_archive_and_restore(of: str, archived: bool) -> None:
    with pytest.raises(Forbidden):
        domain.changed(project(of), ChangeProject(name=of, archived=archived), of, NOW)
    titled = domain.changed(project(of), ChangeProject(name=of, title="t"), of, NOW)
    assert (titled.title, titled.archived_at) == ("t", None)


def test_an_archived_project_keeps_its_time_and_the_platforms_own_is_never_archived() -> None:
    order = ChangeProject(name="blue", archived=True)
    first = domain.changed(project(), order, DEFAULT_PROJECT, NOW)
    later = NOW.replace(year=2031)
    assert domain.changed(first, order, DEFAULT_PROJECT, later).archived_at == NOW
    again = domain.changed(first, ChangeProject(name="blue", archived=False), DEFAULT_PROJECT, later)
    assert again.archived_at is None
    with pytest.raises(Conflict):
        domain.changed(project(DEFAULT_PROJECT), order, DEFAULT_PROJECT, NOW)


@given(home=NAMES, other=NAMES)
def test_a_user_enters_the_own_project(home: str, other: str) -> None:
    ada = users.draft("ada", [Role.VIEWER], "", project=home, by="me", now=NOW)
    assert domain.may_enter(ada, home, (), NOW)
    assert domain.may_enter(ada, other, (), NOW) == (home == other)
    granted = HeldGrant(id="g", role="viewer", project=other, ends_at=NOW + timedelta(hours=1))
    assert domain.may_enter(ada, other, [granted], NOW)
    assert domain.may_enter(ada, other, [granted], NOW + timedelta(hours=2)) == (home == other)


def test_nobody_shares_with_himself() -> None:
    domain.check_shareable("red", "blue")
    with pytest.raises(InvalidInput):
        domain.check_shareable("blue", "blue")


@given(owner=NAMES, asker=NAMES, model=NAMES, key=st.uuids().map(str))
def test_a_prediction_of_a_shared_model_is_logged_for_who_asked(owner: str, asker: str, model: str, key: str) -> None:
    assert logged_as(owner, model, key) == (owner, model, key)
    assert logged_as(owner, model, f"{asker}/{key}") == (asker, f"{owner}.{model}", key)


@given(owner=NAMES, asker=NAMES, model=NAMES, key=st.uuids().map(str))
def test_a_name_tells_whose_model_it_is_and_the_log_has_it_again(owner: str, asker: str, model: str, key: str) -> None:
    name = called(asker, owner, model)
    assert is_model_name(name) and owned(asker, name) == (owner, model)
    assert logged_as(owner, model, credential(asker, key, owner)) == (asker, name, key)
