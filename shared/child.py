"""The life of a task's process: it dies with its parent, stops at SIGTERM and says why it failed."""

import ctypes
import gc
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from shared.worker import REPORT_FD, Failure, Lost, Progress, Reporter, Result, WorkersLost, read_spec

PR_SET_PDEATHSIG = 1
GC_THRESHOLDS = (20_000, 20, 20)

log = logging.getLogger("aimass.task")


def run(work: Callable[[dict[str, Any], Reporter], Result]) -> NoReturn:
    """Do the work that the spec on standard input asks for, report its end and leave."""
    die_with_parent(int(os.environ[REPORT_FD]))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.basicConfig(stream=sys.stdout)
    logging.getLogger().handlers[0].setFormatter(Levelled())
    log.setLevel(logging.INFO)
    gc.set_threshold(*GC_THRESHOLDS)  # else a sixth of a short training looks through what torch's import leaves
    code = _report_end(work, Reporter.from_environment())
    sys.stdout.flush()
    # Unloading torch takes a second, in which the parent would wait for nothing.
    os._exit(code)


def _report_end(work: Callable[[dict[str, Any], Reporter], Result], reporter: Reporter) -> int:
    try:
        reporter.send(Progress(fraction=0, message="starting"))
        reporter.send(work(read_spec(), reporter))
    except ConnectionError:
        return 1
    except WorkersLost as error:
        reporter.send(Lost(message=str(error)))
        return 1
    except Exception as error:
        log.exception("the task failed")
        reporter.send(Failure(error=type(error).__name__, message=str(error)))
        return 1
    return 0


@contextmanager
def uncollected() -> Iterator[None]:
    """Import and build without the collector, which takes a twelfth of a short training to look through what stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class Levelled(logging.Formatter):
    """A line as it is, and of warnings and worse the level before it, by which people find them."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname}: {text}"


def tell(reporter: Reporter, message: str) -> None:
    """Say what is done before there is anything to count."""
    log.info(message)
    reporter.send(Progress(fraction=0, message=message))


def die_with_parent(report_fd: int) -> None:
    """Have the kernel kill this process when its parent ends; leave at once if it has ended already."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if parent_is_gone(report_fd):
        raise SystemExit(1)


def parent_is_gone(report_fd: int) -> bool:
    """Whether nobody holds the reading end of the pipe; asking for the parent's pid could not tell."""
    poll = select.poll()
    poll.register(report_fd, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
