"""What `./justw library` found of each member of the library: as lines for a terminal, as JSON and as Markdown."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.markdown import table

HEADINGS = (
    "member",
    "task",
    "metric",
    "test part",
    "baseline",
    "of",
    "beaten",
    "gate",
    "training s",
    "file",
    "same again",
    "p50 ms",
    "requests/s",
    "remark",
)
NONE = "–"


@dataclass
class Row:
    """A member: what it reached on the test part beside its baseline, what it took, and how fast it answers.

    `repeats` says whether it is the file of earlier trainings by the same seed, data and code, where there was one.
    `problem` says in a line why it failed, and is empty where it did not; `remark` says what else there is to say.
    """

    member: str
    task_type: str = ""
    metric: str = ""
    value: float | None = None
    baseline_method: str = ""
    baseline: float | None = None
    beaten: bool | None = None
    gate_passed: bool | None = None
    training_seconds: float | None = None
    artifact_bytes: int | None = None
    repeats: bool | None = None
    p50_ms: float | None = None
    requests_per_second: float | None = None
    problem: str = ""
    remark: str = ""

    def cells(self) -> list[str]:
        """As people read it, in the order of HEADINGS."""
        return [
            self.member,
            self.task_type,
            self.metric or NONE,
            shown(self.value, ".4f"),
            shown(self.baseline, ".4f"),
            self.baseline_method or NONE,
            verdict(self.beaten, "yes", "no"),
            verdict(self.gate_passed, "passed", "failed"),
            shown(self.training_seconds, ".1f"),
            size(self.artifact_bytes),
            verdict(self.repeats, "yes", "no"),
            shown(self.p50_ms, ".2f"),
            shown(self.requests_per_second, ".0f"),
            (self.problem or self.remark).replace("\n", " ").replace("|", "/"),
        ]


def shown(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def verdict(found: bool | None, yes: str, no: str) -> str:
    return NONE if found is None else yes if found else no


def size(count: int | None) -> str:
    if count is None:
        return NONE
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def lines(rows: Sequence[Row]) -> str:
    """A line each below their headings, in columns."""
    cells = [list(HEADINGS), *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def markdown(rows: Sequence[Row], about: str) -> Iterator[str]:
    yield from ("# The library, run", "", about, "")
    yield from table(HEADINGS, (row.cells() for row in rows))


def write(rows: Sequence[Row], about: str, folder: Path) -> list[Path]:
    """The table as library-measured.json and library-measured.md in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"about": about, "members": [asdict(row) for row in rows]}
    page = "\n".join(markdown(rows, about)).rstrip()
    contents = {"library-measured.json": json.dumps(document, indent=2), "library-measured.md": page}
    for name, content in contents.items():
        (folder / name).write_text(content + "\n")
    return [folder / name for name in contents]
