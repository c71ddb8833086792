"""Rebuilds monitor's projections on the running stack, as monitor: python -m deploy.embedded.replay [--anew]."""

import argparse
import os
import sys
from pathlib import Path

from deploy.embedded.parts import DEFAULT_HOME, service_launch
from deploy.embedded.stack import Stack, StackError

MODULE = "services.monitor.replaying"


def main() -> None:
    arguments = argparse.ArgumentParser(prog="./justw replay", description=__doc__)
    arguments.add_argument("--home", type=Path, default=DEFAULT_HOME, help="the state folder (default: .aimass)")
    arguments.add_argument("--anew", action="store_true", help="begin anew where an earlier one was interrupted")
    chosen = arguments.parse_args()
    stack = Stack(chosen.home)
    try:
        stack.check_running()
    except StackError as error:
        sys.exit(str(error))
    launch = service_launch(stack.plan, "monitor")
    os.chdir(launch.folder)
    wanted = ["--anew"] if chosen.anew else []
    os.execve(sys.executable, [sys.executable, "-m", MODULE, *wanted], launch.environment)  # noqa: S606


if __name__ == "__main__":
    main()
