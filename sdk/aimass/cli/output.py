"""What is printed: tables on a terminal, columns with tabs for other programs, JSON on request."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: one document, or a line for each thing that comes.")]
AsOf = Annotated[str | None, typer.Option(metavar="TIME", help="What was at this time, such as 2030-01-31T12:00:00Z.")]
Columns = Mapping[str, Callable[[Any], Any]]


def document(found: Any) -> None:
    """One JSON document."""
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def json_line(found: Any) -> None:
    typer.echo(json.dumps(found, ensure_ascii=False))


def line(text: str) -> None:
    """A line of text that may come from anywhere: without what would change the terminal."""
    typer.echo(printable(text))


def note(text: str) -> None:
    """What is not the result goes to stderr."""
    typer.echo(printable(text), err=True)


def rows(found: Sequence[Any], columns: Columns, as_json: bool) -> None:
    """A table of documents, or the documents themselves."""
    if as_json:
        return document(found)
    cells = [[cell(read(each)) for read in columns.values()] for each in found]
    return _table(list(columns), cells) if sys.stdout.isatty() else _tabs(list(columns), cells)


def facts(found: Mapping[str, Any], as_json: bool) -> None:
    """One document, a line for each of its members."""
    if as_json:
        return document(found)
    width = max(map(len, found), default=0)
    for name, value in found.items():
        if value not in (None, "", [], {}):
            line(f"{name:<{width}}  {cell(value)}")
    return None


def cell(value: Any) -> str:
    """A value as people read it, on one line."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case str():
            return printable(value)
        case list() if not any(isinstance(each, dict | list) for each in value):
            return ", ".join(map(cell, value))
        case dict() | list():
            return printable(json.dumps(value, ensure_ascii=False))
    return str(value)


def moment(found: str | None) -> str:
    """A time of the API, in UTC, to the second; on a terminal without the day where it is today's."""
    text = (found or "")[:19].replace("T", " ")
    is_today = text.startswith(datetime.now(UTC).strftime("%Y-%m-%d "))
    return text[11:] if is_today and sys.stdout.isatty() else text


def printable(text: str) -> str:
    """Without control characters, which a log of somebody else's may hold."""
    return "".join(letter if letter == "\t" or letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _table(names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """A table whose ids and names stay in one piece, so that they can be copied; only what has words is folded."""
    table, needed = Table(box=None, pad_edge=False, header_style="bold"), 0
    for number, name in enumerate(names):
        words = [word for row in (names, *cells) for word in row[number].split(" ")]
        is_one = not any(" " in row[number] for row in cells)
        table.add_column(name, overflow="fold", no_wrap=is_one)
        needed += max(map(len, words)) + 2
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console()
    console.width = max(console.width, needed)
    console.print(table, soft_wrap=True)


def _tabs(names: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
    for row in (names, *cells):
        typer.echo("\t".join(value.replace("\t", " ") for value in row))
