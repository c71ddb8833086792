"""What a plot of results shows, without how it is drawn: a panel a case, a line a target."""

from dataclasses import dataclass

from benchmarks.results import CaseResult, Results


@dataclass(frozen=True)
class Line:
    """Good answers a second at numbers of connections; lowest and highest are of single rounds."""

    name: str
    connections: tuple[int, ...]
    median: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Figure:
    title: str
    panels: tuple[Panel, ...]


def figure(results: Results) -> Figure:
    """All cases that have runs, with machine and commit in the title."""
    commit = str(results.commit.get("id", "no commit"))[:12] + (" + changes" if results.commit.get("changed") else "")
    machine = f"{results.machine.get('processor', '?')}, {results.machine.get('cores', '?')} cores"
    panels = tuple(panel(case) for case in results.cases if case.runs)
    return Figure(f"Good answers a second: {machine}; {commit}; {results.at}", panels)


def panel(case: CaseResult) -> Panel:
    names = dict.fromkeys(run.target for run in case.runs)
    return Panel(case.title, tuple(line(case, name) for name in names))


def line(case: CaseResult, target: str) -> Line:
    medians = {count: rows[target].median.rate for count, rows in case.rows().items() if target in rows}
    mine = [run for run in case.runs if run.target == target]
    rates = {count: [run.rate for run in mine if run.connections == count] for count in medians}
    return Line(
        target,
        tuple(medians),
        tuple(medians.values()),
        tuple(min(found) for found in rates.values()),
        tuple(max(found) for found in rates.values()),
    )
