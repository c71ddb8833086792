"""Mixed chaos on a stack of its own: python -m tests.faults.mixed [--seed N] [--faults N] [--pause SECONDS].

Prints seed, faults by kind, what was skipped and why, what was acknowledged, and where the history lies; ends with 1
where a promise was broken.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.mixed.journal import Journal
from tests.faults.mixed.run import Plan, Run, report
from tests.faults.mixed.site import built


def main() -> int:
    parser = argparse.ArgumentParser(prog="just chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same faults in the same order again")
    parser.add_argument("--faults", type=int, default=Plan.faults)
    parser.add_argument("--pause", type=float, default=Plan.pause, help="seconds between faults on average")
    parser.add_argument("--history", type=Path, help="where the history is written; else in a temporary folder")
    told = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="aimass-chaos-"))
    history = told.history or folder / "history.jsonl"
    history.unlink(missing_ok=True)
    with built(folder) as site:
        result = Run(site, Plan(told.seed, told.faults, told.pause), Journal(history), _say).run()
    for line in report(result):
        print(line)
    return 1 if result.wrong else 0


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
