"""A task's process that behaves as its spec says: steps with checkpoints, then an end, good or bad.

The first attempt waits for a word after the step `stay`, so that who ends or freezes it comes never too late.
"""

import fcntl
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from shared import child
from shared.worker import REPORT_FD, Checkpoint, Curves, Metrics, Progress, Record, Reporter, Result

WORD = "go-on"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32


def work(spec: dict[str, Any], reporter: Reporter) -> Result:
    if spec.get("register"):
        register(Path(spec["register"]), spec["pause"])
    first = int(Path(spec["resume"]).read_text()) + 1 if spec["resume"] else 1
    for step in range(first, spec["steps"] + 1):
        print(f"step {step}")
        time.sleep(spec["pause"])
        Path(f"{step}.txt").write_text(str(step))
        say_more(step, spec, reporter)
        reporter.send(Metrics(epoch=step, values={"loss": 1 / step}))
        reporter.send(Checkpoint(epoch=step, file=f"{step}.txt"))
        reporter.send(Progress(fraction=step / spec["steps"], message=f"step {step}"))
        if step == spec["stay"] and not spec["resume"]:
            await_word()
    ENDS[spec["end"]](reporter)
    Path("out.txt").write_text("done")
    environment = sorted(set(os.environ) - {REPORT_FD})
    return Result(files={"out": "out.txt"}, data={"environment": environment, "pid": os.getpid()})


def register(folder: Path, seconds: float) -> None:
    """Tell whether another process works on the same task, and how long this one has."""
    with (folder / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (folder / "twice").touch()
        time.sleep(seconds)


def say_more(step: int, spec: dict[str, Any], reporter: Reporter) -> None:
    """So many points a step as the spec says, and a record of each kind."""
    curves = Curves(reporter, spec.get("points"))
    for number in range(spec.get("points", 0)):
        curves.add((step - 1) * spec["points"] + number + 1, {"train_loss": 1 / step, "gap": math.nan})
    curves.flush()
    for kind in spec.get("records", ()):
        body = {"value": step} if kind != "image" else None
        Path(f"{kind}.png").write_bytes(PNG)
        file = None if body else f"{kind}.png"
        reporter.send(Record(kind=kind, name=f"shown/{kind}", step=step, body=body, file=file))


def await_word() -> None:
    while not Path(WORD).exists():
        time.sleep(0.05)


def fail(_: Reporter) -> None:
    raise ValueError("the reason\0 with a NUL")


def vanish(_: Reporter) -> None:
    os._exit(3)


def half(reporter: Reporter) -> None:
    os.write(int(os.environ[REPORT_FD]), b'{"type": "progress", "fra')
    os._exit(0)


def garbage(_: Reporter) -> None:
    os.write(int(os.environ[REPORT_FD]), b'{"type": "nonsense"}\n')
    time.sleep(600)


def hang(_: Reporter) -> None:
    """Ignore SIGTERM, with a child that does so too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("hanging", flush=True)
    time.sleep(600)


def chatter(reporter: Reporter) -> None:
    for number in range(3000):
        print(f"line {number}")
        reporter.send(Progress(fraction=number / 3000, message=f"at {number}"))
    print("x" * 200_000)
    print("after the long line")


def grow(_: Reporter) -> None:
    """Take ever more memory."""
    taken = []
    while True:
        taken.append(b"x" * 8_000_000)
        time.sleep(0.05)


ENDS = {
    "well": lambda _: None,
    "fail": fail,
    "vanish": vanish,
    "half": half,
    "garbage": garbage,
    "hang": hang,
    "chatter": chatter,
    "grow": grow,
}

if __name__ == "__main__":
    child.run(work)
