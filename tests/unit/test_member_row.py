"""The table of `./justw library` is read by people, whatever is known of a member."""

from examples.member_row import HEADINGS, Row, lines, markdown

WHOLE = Row(
    member="spam-filter",
    task_type="classification",
    metric="roc_auc",
    value=0.99664,
    baseline_method="naive Bayes",
    baseline=0.98629,
    beaten=True,
    gate_passed=True,
    training_seconds=21.7,
    artifact_bytes=8_402_977,
    repeats=True,
    p50_ms=1.134,
    requests_per_second=2861.4,
)
FAILED = Row(member="tiny", artifact_bytes=4615, gate_passed=False, problem="gate failed: a is 1 | b\nis missing")


def test_each_figure_has_its_column() -> None:
    shown = dict(zip(HEADINGS, WHOLE.cells(), strict=True))
    assert (shown["test part"], shown["baseline"], shown["of"], shown["beaten"]) == (
        "0.9966",
        "0.9863",
        "naive Bayes",
        "yes",
    )
    assert (shown["gate"], shown["file"], shown["same again"]) == ("passed", "8.4 MB", "yes")
    assert (shown["p50 ms"], shown["requests/s"], shown["remark"]) == ("1.13", "2861", "")


def test_what_is_not_known_is_a_dash_and_a_problem_is_one_line() -> None:
    shown = dict(zip(HEADINGS, FAILED.cells(), strict=True))
    assert (shown["baseline"], shown["beaten"], shown["p50 ms"], shown["gate"]) == ("–", "–", "–", "failed")
    assert (shown["file"], shown["remark"]) == ("4.6 kB", "gate failed: a is 1 / b is missing")
    assert Row(member="slow", remark="left out").cells()[-1] == "left out"


def test_lines_stand_in_columns_and_markdown_has_a_row_each() -> None:
    heading, first, second = lines([WHOLE, FAILED]).splitlines()
    assert {line.index(cell) for line, cell in ((heading, "gate"), (first, "passed"), (second, "failed"))} == {
        heading.index("gate")
    }
    page = list(markdown([WHOLE, FAILED], "measured here"))
    assert "measured here" in page
    assert [line.count("|") for line in page if line.startswith("| ")] == [len(HEADINGS) + 1] * 3
