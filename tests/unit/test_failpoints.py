"""A failpoint kills once where it is armed, and nowhere else."""

import signal
import subprocess
import sys
from pathlib import Path

REACH = """
import sys
from pathlib import Path
from shared import failpoints
failpoints.set_up(Path(sys.argv[1]) if sys.argv[1] else None)
failpoints.reach("handled", "TrainingCompleted")
"""


def reach(folder: Path | str) -> int:
    return subprocess.run([sys.executable, "-c", REACH, str(folder)], check=False).returncode


def test_an_armed_point_kills_once(tmp_path: Path) -> None:
    point = tmp_path / "handled-TrainingCompleted"
    point.touch()
    assert reach(tmp_path) == -signal.SIGKILL
    assert not point.exists()
    assert reach(tmp_path) == 0


def test_other_points_do_nothing(tmp_path: Path) -> None:
    (tmp_path / "published-TrainingCompleted").touch()
    assert reach(tmp_path) == 0
    assert reach("") == 0
