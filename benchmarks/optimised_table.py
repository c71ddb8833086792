"""Precision against speed against size of the forms of a version: as lines for a terminal, as JSON and as Markdown."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.markdown import table
from examples.member_row import NONE, shown, size, verdict

HEADINGS = (
    "form",
    "version",
    "metric",
    "test part",
    "change",
    "gate",
    "file",
    "of it",
    "served, 1 row: p50 ms",
    "of it",
    "served: rows/s",
    "of it",
    "graph alone, 1 row: ms",
    "of it",
    "graph alone, 64 rows: ms",
    "of it",
    "problem",
)


@dataclass
class Form:
    """A version in one form: what the evaluator found on the test part, bytes, and speed.

    The first one of a table is the version that the others were made of; ratios are to what it had in the same
    minute, measured in turn, and so are None for itself.
    """

    name: str
    version: int | None = None
    metric: str = ""
    value: float | None = None
    change: float | None = None
    gate_passed: bool | None = None
    artifact_bytes: int | None = None
    bytes_ratio: float | None = None
    p50_ms: float | None = None
    p50_ratio: float | None = None
    rows_per_second: float | None = None
    rows_ratio: float | None = None
    one_ms: float | None = None
    one_ratio: float | None = None
    many_ms: float | None = None
    many_ratio: float | None = None
    problem: str = ""

    def cells(self) -> list[str]:
        """As people read it, in the order of HEADINGS."""
        return [
            self.name,
            shown(self.version, "d"),
            self.metric or NONE,
            shown(self.value, ".4f"),
            shown(self.change, "+.4f"),
            verdict(self.gate_passed, "passed", "failed"),
            size(self.artifact_bytes),
            ratio(self.bytes_ratio),
            shown(self.p50_ms, ".2f"),
            ratio(self.p50_ratio),
            shown(self.rows_per_second, ".0f"),
            ratio(self.rows_ratio),
            shown(self.one_ms, ".3f"),
            ratio(self.one_ratio),
            shown(self.many_ms, ".3f"),
            ratio(self.many_ratio),
            self.problem.replace("\n", " ").replace("|", "/"),
        ]


def ratio(value: float | None) -> str:
    return NONE if value is None else f"× {value:.2f}"


def lines(forms: Sequence[Form]) -> str:
    """A figure a line, a form a column; problems are told apart."""
    columns = [list(HEADINGS[:-1]), *(form.cells()[:-1] for form in forms)]
    widths = [max(map(len, column)) for column in columns]
    shown_rows = (row for row in zip(*columns, strict=True) if set(row[1:]) - {"", NONE})
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in shown_rows)


def markdown(model: str, forms: Sequence[Form], about: str) -> Iterator[str]:
    yield from (f"# Forms of {model}", "", about, "")
    yield from table(HEADINGS, (form.cells() for form in forms))


def write(model: str, forms: Sequence[Form], about: str, folder: Path) -> list[Path]:
    """The table as MODEL.json and MODEL.md in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"model": model, "about": about, "forms": [asdict(form) for form in forms]}
    page = "\n".join(markdown(model, forms, about)).rstrip()
    contents = {f"{model}.json": json.dumps(document, indent=2), f"{model}.md": page}
    for name, content in contents.items():
        (folder / name).write_text(content + "\n")
    return [folder / name for name in contents]
