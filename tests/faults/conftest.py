"""A stack of its own for the faults, with short leases and armed points; the table of what was tried at the end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.stack import Stack
from shared.streams import SERVICES
from tests.audit import UNDISTURBED
from tests.faults import table
from tests.faults.job import CONFIG, finish, settled
from tests.house import House

LEASE = {"LEASE_SECONDS": "2"}
OWN = {"trainer": LEASE, "evaluator": LEASE, "inference": {"NODE_LEASE_SECONDS": "2"}}


@pytest.fixture(scope="package")
def failpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each service; a file there arms a point."""
    folder = tmp_path_factory.mktemp("failpoints")
    for service in SERVICES:
        (folder / service).mkdir()
    return folder


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory, failpoints: Path) -> Iterator[House]:
    settings = {service: {"FAILPOINTS": str(failpoints / service), **OWN.get(service, {})} for service in SERVICES}
    stack = Stack(tmp_path_factory.mktemp("faults"), settings=settings)
    try:
        stack.up()
        yield House(stack)
    finally:
        stack.down()


@pytest.fixture(scope="package")
def finished(house: House) -> str:
    """The newest task, undisturbed; nothing is in hand any more."""
    task = house.train("finished", **CONFIG)
    finish(house, task)
    assert settled(house, task, whole=True) == UNDISTURBED
    return task


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that ran a part of the tests hands its counts to the one that started it."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["faults"] = table.counts()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    table.add(*getattr(node, "workeroutput", {}).get("faults", ({}, {})))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the fault table."""
    if table.TRIED:
        terminalreporter.write_sep("-", "faults during the main job")
        for line in table.lines():
            terminalreporter.write_line(line)
