"""Writes what follows from the code: docker-compose.yml, pages of docs/, and the lists in services' READMEs."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from pydantic.fields import FieldInfo

from deploy import asyncapi, readmes
from deploy.access_page import access_page
from deploy.catalogue import catalogue_page
from deploy.compose import document
from deploy.event_catalogue import events_page
from deploy.graph import graph_page
from deploy.markdown import code, table
from deploy.permissions_page import permissions_page
from deploy.provision import ROOT, declarations
from shared.events import said_by
from shared.settings import ServiceSettings
from shared.streams import SERVICES, STREAMS, Declaration, permissions

COMPOSE = ROOT / "docker-compose.yml"
GRAPH = ROOT / "docs" / "graph.md"
CATALOGUE = ROOT / "docs" / "library.md"
EVENTS_PAGE = ROOT / "docs" / "events.md"
ASYNCAPI = ROOT / "docs" / "asyncapi.json"
PERMISSIONS_PAGE = ROOT / "docs" / "permissions.md"
ACCESS = ROOT / "docs" / "access.md"
FOLDER = ROOT / "docs" / "reference"


def bus_page() -> Iterator[str]:
    yield from ("# The bus", "", "## Streams", "")
    rows = ([s.name, code(s.subjects or []), f"{(s.max_bytes or 0) >> 20} MiB", days(s.max_age)] for s in STREAMS)
    yield from table(("stream", "subjects", "at most", "kept"), rows)
    for declaration in declarations():
        yield from service_section(declaration)


def days(seconds: float | None) -> str:
    return f"{seconds / 86400:.0f} days" if seconds else "for ever"


def service_section(declaration: Declaration) -> Iterator[str]:
    granted = permissions(declaration)
    yield from (f"## {declaration.service}", "")
    rows = {
        "hears": code(event.subject("*") for event in declaration.hears),
        "obeys": code(command.subject("*") for command in declaration.obeys),
        "says": code(event.subject("*") for event in said_by(declaration.service)),
        "answers": code(request.verb() for request in declaration.answers),
        "may publish": code(granted.publish),
        "may subscribe": code(granted.subscribe),
    }
    yield from table(("", ""), rows.items())


def settings_page() -> Iterator[str]:
    yield from ("# Settings", "", "Each is an environment variable.", "")
    for service in SERVICES:
        yield from (f"## {service}", "")
        yield from table(("variable", "type", "default", "what"), setting_rows(service))


def setting_rows(service: str) -> Iterator[list[str]]:
    settings: type[ServiceSettings] = import_module(f"services.{service}.settings").Settings
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        yield [f"`{prefix}{name.upper()}`", f"`{type_name(field)}`", default(field), field.description or ""]


def type_name(field: FieldInfo) -> str:
    return getattr(field.annotation, "__name__", str(field.annotation))


def default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "found at the start"
    return "required" if field.is_required() else f"`{field.get_default()}`"


def write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join(lines).rstrip("\n") + "\n")
    print(path.relative_to(ROOT))


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    write(FOLDER / "bus.md", bus_page())
    write(FOLDER / "settings.md", settings_page())
    write(GRAPH, graph_page(declarations()))
    write(CATALOGUE, catalogue_page())
    write(PERMISSIONS_PAGE, permissions_page())
    write(ACCESS, access_page())
    whole = asyncapi.document(declarations())
    write(ASYNCAPI, asyncapi.lines(whole))
    write(EVENTS_PAGE, events_page(whole))
    write(COMPOSE, document.text().splitlines())
    for declaration in declarations():
        path = ROOT / "services" / declaration.service / "README.md"
        if readmes.correct(path, declaration):
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
