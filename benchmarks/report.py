"""Results as tables for a terminal."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from benchmarks.results import CaseResult, Results, Row, ratio

COLUMNS = ("conn.", "to", "requests/s", "p50 / p99 ms", "× Triton", "× best peer", "failed", "dropped")
DROPPED = "dropped: the share of rows of the prediction log that were lost while the gateway was asked"


def tables(results: Results) -> Iterator[Table]:
    for case in results.cases:
        yield rates(case)
        yield processors(case)


def rates(case: CaseResult) -> Table:
    """A line for each target at each number of connections: medians of rounds; failed and dropped of all rounds."""
    shown = Table(*COLUMNS, title=case.title, caption=Text(_notes(case)), caption_justify="left")
    for column in shown.columns[2:]:
        column.justify = "right"
    for connections, rows in case.rows().items():
        best = rows.get(case.best_peer(connections) or "")
        for name, row in rows.items():
            shown.add_row(str(connections), name, *_cells(row, rows[case.limit], best))
        shown.add_section()
    for name in case.left_out:
        shown.add_row("all", name, "left out", *["-"] * 5)
    return shown


def _cells(row: Row, limit: Row, best: Row | None) -> tuple[str, ...]:
    run = row.median
    compared = (ratio(row, limit), ratio(row, best) if best else None)
    dropped = "-" if row.dropped_share is None else f"{row.dropped_share:.2%}"
    latency = f"{run.p50_ms:.2f} / {run.p99_ms:.1f}"
    return (f"{run.rate:,.0f}", latency, *map(_times, compared), str(row.failed), dropped)


def _times(found: float | None) -> str:
    return "-" if found is None else f"{found:.2f}"


def _notes(case: CaseResult) -> str:
    ran = [f"{name}: {how}." for name, how in case.peers.items() if name not in case.left_out]
    return "\n".join([DROPPED, *ran, *(f"{name} is left out: {why}" for name, why in case.left_out.items())])


def processors(case: CaseResult) -> Table:
    """Microseconds of processor time a request, of every process that took at least one, in the median round."""
    shown = Table("conn.", "to", "all", "each", title=f"{case.name}: µs of processor time a request")
    for connections, rows in case.rows().items():
        for name, row in rows.items():
            spent = row.median.processor_us
            each = ", ".join(f"{part} {used:.0f}" for part, used in spent.items() if used >= 1)
            shown.add_row(str(connections), name, f"{sum(spent.values()):.0f}", each)
    return shown


def prediction_log(results: Results) -> str:
    """One line on the rows of the whole run."""
    log = results.prediction_log
    if not log.get("answered"):
        return "prediction log: no row was to be written"
    lost = 1 - log["kept"] / log["answered"]
    return (
        f"prediction log: {log['answered']:,} rows of this run, {log['dropped']:,} dropped by inference, "
        f"{log['kept']:,} kept by monitor: {max(0.0, lost):.3%} lost"
    )
