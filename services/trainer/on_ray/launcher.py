"""The process of a task whose work is done on a node of a Ray cluster: `python -m services.trainer.on_ray.launcher`.

It brings files and code there, and relays what comes back in its order; when it ends, Ray ends what it has started.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from services.trainer.on_ray.order import Order
from services.trainer.on_ray.shipping import Item, code, files_given, inside, pieces
from shared import child
from shared.worker import REPORTS, Failure, Lost, Reporter, Result

LOOK_SECONDS = 2.0
SILENCE_SECONDS = 30.0
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


class Unreachable(Exception):
    """The cluster does not answer."""


class Errand:
    """Between the pipe of the service and the work on a node."""

    def __init__(self, order: Order, reporter: Reporter) -> None:
        self._order, self._reporter = order, reporter
        self._folder = Path.cwd()
        self._result: Result | None = None

    def run(self) -> Result:
        import ray

        self._connect()
        foothold = self._place()
        while self._result is None:
            for item in ray.get(foothold.next.remote(), timeout=SILENCE_SECONDS):
                self._take(item)
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

    def _place(self) -> Any:
        """The work on a node that has what it takes, once there is one."""
        import ray
        from ray import cloudpickle

        from services.trainer.on_ray import foothold

        cloudpickle.register_pickle_by_value(foothold)
        needs, order = self._order.resources, self._order
        taken = {"num_cpus": needs.cores, "num_gpus": needs.gpus, "memory": needs.memory}
        placed = ray.remote(foothold.Foothold).options(**taken, max_restarts=0, max_task_retries=0).remote()
        digest, archive = code()
        files = {name: [ray.put(piece) for piece in pieces(self._folder / name)] for name in self._files()}
        told = order.model_dump(mode="json", exclude={"token_file"})
        begun = placed.begin.remote(digest, [ray.put(archive)], told, files)
        if not ray.wait([begun], timeout=LOOK_SECONDS)[0]:
            child.tell(self._reporter, f"waiting for {needs} on the Ray cluster")
        child.tell(self._reporter, f"on the node {ray.get(begun)} of the Ray cluster")
        return placed

    def _files(self) -> list[str]:
        return files_given(self._order.spec, self._folder)

    def _take(self, item: Item) -> None:
        kind, *facts = item
        if kind == "line":
            sys.stdout.write(f"{facts[0]}\n")
        elif kind == "piece":
            name, number, piece = facts
            with inside(self._folder, name).open("ab" if number else "wb") as file:
                file.write(piece)
        else:
            self._pass_on(facts[0])

    def _pass_on(self, line: str) -> None:
        report = REPORTS.validate_json(line)
        if isinstance(report, Result):
            self._result = report
            return
        self._reporter.send(report)
        if isinstance(report, Failure | Lost):
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
