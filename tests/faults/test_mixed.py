"""A short run of mixed faults, by a seed that replays; `just chaos` has longer ones."""

from pathlib import Path

import pytest

from tests.faults.mixed.journal import Journal
from tests.faults.mixed.run import Plan, Run, report
from tests.faults.mixed.site import built

SEED = 20261128
FAULTS = 40


@pytest.mark.timeout(2700)
def test_what_was_acknowledged_is_kept_whatever_breaks(tmp_path: Path) -> None:
    with built(tmp_path) as site:
        result = Run(site, Plan(SEED, FAULTS, pause=0.5, round=20), Journal(tmp_path / "history.jsonl")).run()
    print(*report(result), sep="\n")
    assert result.wrong == []
    assert result.acknowledged.total() > FAULTS / 4
