"""What is generated from the code is fresh, and a service's README that went stale is put right."""

import re

import pytest

from deploy.catalogue import catalogue_page, own_members
from deploy.graph import graph_page
from deploy.permissions_page import permissions_page
from deploy.provision import declarations
from deploy.readmes import LISTS, corrected, listed, truth
from deploy.reference import CATALOGUE, GRAPH, PERMISSIONS_PAGE, bus_page, settings_page
from shared.events import EVENTS
from shared.streams import SERVICES, Declaration
from tests.contract.tree import ROOT

EDGE = re.compile(r'^  [\w-]+(\(\[.+\]\))? -- "[^"]+" --> [\w-]+(\(\[.+\]\))?$')
each_service = pytest.mark.parametrize("declaration", declarations(), ids=lambda declaration: declaration.service)


def test_the_graph_is_fresh() -> None:
    assert GRAPH.read_text() == "\n".join(graph_page(declarations())), "run ./justw docs and commit docs/graph.md"


def test_the_graph_can_be_drawn_and_leaves_nobody_out() -> None:
    page = GRAPH.read_text()
    charts = re.findall(r"```mermaid\nflowchart LR\n(.*?)```", page, re.DOTALL)
    edges = [line for chart in charts for line in chart.splitlines()]
    assert [edge for edge in edges if not EDGE.match(edge)] == []
    assert all(any(service in re.split(r"\W+", edge) for edge in edges) for service in SERVICES)
    assert all(f"`{event.subject('*')}`" in page for event in EVENTS.values())


def test_the_catalogue_is_fresh() -> None:
    fresh = "\n".join(catalogue_page()).rstrip("\n") + "\n"
    assert CATALOGUE.read_text() == fresh, "run ./justw docs and commit docs/library.md"


def test_the_table_of_permissions_is_fresh() -> None:
    fresh = "\n".join(permissions_page()).rstrip("\n") + "\n"
    assert PERMISSIONS_PAGE.read_text() == fresh, "run ./justw docs and commit docs/permissions.md"


def test_the_catalogue_shows_each_member_once() -> None:
    headings = re.findall(r"^## (.+)$", CATALOGUE.read_text(), re.MULTILINE)
    assert headings == [member.name for member in own_members()]


def test_the_reference_can_be_written() -> None:
    assert "`AUTH_ADMIN_KEY_FILE`" in "\n".join(settings_page())
    assert "## registry" in list(bus_page())


@each_service
def test_a_right_readme_is_left_alone(declaration: Declaration) -> None:
    text = (ROOT / "services" / declaration.service / "README.md").read_text()
    assert corrected(text, declaration) == text


@each_service
def test_a_stale_readme_is_put_right(declaration: Declaration) -> None:
    text = "# name\n\n- Hears: a, `b`,\n  c\n- Says: nothing\n- Answers: d\n- Owns: e,\n  f\n"
    right = corrected(text, declaration)
    for what in LISTS:
        assert listed(right, what) == set(truth(declaration)[what])
    assert right.startswith("# name\n\n- Hears: ")
    assert right.endswith("\n- Owns: e,\n  f\n")
