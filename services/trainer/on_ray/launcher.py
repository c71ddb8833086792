"""The process of a task whose work is done on a node of a Ray cluster: `python -m services.trainer.on_ray.launcher`.

It brings files and code there, and relays what comes back in its order; when it ends, Ray ends what it has started.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from services.trainer.on_ray.order import Order, Unreachable
from services.trainer.on_ray.shipping import Item, files_given, inside, pieces
from shared import child
from shared.worker import REPORTS, Failure, Lost, Meeting, Report, Reporter, Result

if TYPE_CHECKING:
    from services.trainer.on_ray.footholds import Footholds

GRACE_SECONDS = 3.0
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1", "RAY_TQDM": "0"}


def launch(raw: dict[str, Any], reporter: Reporter) -> Result:
    """Have the order's module run somewhere, to its result."""
    order = Order.model_validate(raw)
    os.environ.update(QUIET)
    if order.token_file:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=order.token_file)
    import ray.exceptions

    try:
        return Errand(order, reporter).run()
    except ray.exceptions.RayTaskError:  # of our own code there, which fails there again
        raise
    except (ray.exceptions.RayError, Unreachable) as error:
        reporter.send(Lost(message=_first_line(error)))
        _leave()


class Errand:
    """Between the pipe of the service and the work on the nodes; of several workers the first is told of."""

    def __init__(self, order: Order, reporter: Reporter) -> None:
        self._order, self._reporter = order, reporter
        self._folder = Path.cwd()
        self._result: Result | None = None
        self._lost: tuple[Lost, float] | None = None

    def run(self) -> Result:
        self._connect()
        footholds = self._place()
        while self._result is None:
            for rank, item in footholds.next():
                self._take(rank, item, footholds)
            self._leave_if_lost()
        return self._result

    def _connect(self) -> None:
        import ray

        child.tell(self._reporter, f"connecting to the Ray cluster at {self._order.address}")
        try:
            quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
            ray.init(address=self._order.address, namespace=self._order.task_id, **quiet)
        except ConnectionError as error:
            raise Unreachable(f"the Ray cluster at {self._order.address} does not answer: {error}") from error
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray's own handler would tidy up for longer than we are given

    def _place(self) -> "Footholds":
        """The first worker on a node that has what it takes, and room for the others."""
        import ray

        from services.trainer.on_ray.footholds import Footholds

        names = files_given(self._order.spec, self._folder)
        files = {name: [ray.put(piece) for piece in pieces(self._folder / name)] for name in names}
        footholds = Footholds(self._order, files, self._reporter)
        footholds.begin(range(1))
        return footholds

    def _take(self, rank: int, item: Item, footholds: "Footholds") -> None:
        kind, *facts = item
        if kind == "line":
            sys.stdout.write(f"[worker {rank + 1}] {facts[0]}\n" if rank else f"{facts[0]}\n")
        elif kind == "report":
            self._pass_on(rank, REPORTS.validate_json(facts[0]), footholds)
        elif rank == 0:
            name, number, piece = facts
            with inside(self._folder, name).open("ab" if number else "wb") as file:
                file.write(piece)

    def _pass_on(self, rank: int, report: Report, footholds: "Footholds") -> None:
        if isinstance(report, Failure):
            self._reporter.send(report)
            _leave()
        elif isinstance(report, Lost):
            self._lost = self._lost or (report, time.monotonic())
        elif rank:
            return
        elif isinstance(report, Meeting):
            footholds.begin(range(1, self._order.workers), report.address)
        elif isinstance(report, Result):
            self._result = report
        else:
            self._reporter.send(report)

    def _leave_if_lost(self) -> None:
        """Of several workers another one may say why, soon after the first that lost the others."""
        if self._lost is None:
            return
        report, since = self._lost
        if self._order.workers == 1 or time.monotonic() - since > GRACE_SECONDS:
            self._reporter.send(report)
            _leave()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"


def _leave() -> NoReturn:
    """All is said; Ray sees that this process has gone."""
    sys.stdout.flush()
    os._exit(1)


if __name__ == "__main__":
    child.run(launch)
