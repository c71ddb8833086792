"""The command line of the embedded stack: up, down, status, logs, path, provision."""

import argparse
import errno
import os
import sys
from pathlib import Path

from deploy.embedded.cluster import ClusterFailed
from deploy.embedded.folders import UnsafeFolder
from deploy.embedded.parts import DEFAULT_HOME, PARTS
from deploy.embedded.stack import Stack, StackError
from deploy.machine import UnfitMachine

PENDING, REFUSED = 3, 4
LOGS = (*PARTS, "supervisord")
OF_THE_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m deploy.embedded", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", type=Path, default=DEFAULT_HOME, help="the state folder (default: .aimass)")
    commands = arguments.add_subparsers(dest="command", required=True)
    commands.add_parser("up", parents=[common], help="start all parts and return when they are ready")
    commands.add_parser("down", parents=[common], help="stop all parts; state is kept")
    commands.add_parser("status", parents=[common], help="show each part")
    commands.add_parser("path", parents=[common], help="print the path of stack.json")
    admin = commands.add_parser("provision", parents=[common], help="show the plan of the admin step, and take it")
    admin.add_argument(
        "--plan", action="store_true", help="only show it: exit status 0 nothing to do, 3 something, 4 refused"
    )
    logs = commands.add_parser("logs", parents=[common], help="print the log of a part")
    logs.add_argument("name", nargs="?", help=", ".join(LOGS))
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    return arguments


def show_logs(stack: Stack, name: str | None, follow: bool) -> None:
    if name not in LOGS:
        raise StackError(f"{f'no part is named {name}' if name else 'logs of which part?'}: {', '.join(LOGS)}")
    if not stack.home.path.exists() or not (log := stack.home.log(name)).exists():
        raise StackError(f"{name} has no log yet in {stack.home.path}: start a stack with ./justw up")
    os.execvp("tail", ["tail", "-n", "200", *(["-F"] if follow else []), str(log)])  # noqa: S606, S607


def provision(stack: Stack, *, only_plan: bool) -> int:
    """Show the plan, take it unless that was all, and tell by the exit status; a refused plan is not begun."""
    plan = stack.planned()
    print(plan, flush=True)
    if plan.refused:
        print("refused: nothing is done, as messages or positions would be lost", file=sys.stderr)
        return REFUSED
    if only_plan:
        return PENDING if plan.changes else 0
    stack.provision()
    return 0


def run(chosen: argparse.Namespace) -> None:
    stack = Stack(chosen.home)
    if chosen.command in ("status", "provision"):
        stack.check_running()
    match chosen.command:
        case "status":
            from deploy.embedded.status import show

            sys.exit(show(stack))
        case "logs":
            show_logs(stack, chosen.name, chosen.follow)
        case "provision":
            sys.exit(provision(stack, only_plan=chosen.plan))
        case "path":
            print(stack.home.stack_file)
        case command:
            getattr(stack, command)()


def main() -> None:
    os.umask(0o077)
    try:
        run(parser().parse_args())
    except (StackError, ClusterFailed, UnfitMachine, UnsafeFolder) as error:
        sys.exit(str(error))
    except OSError as error:
        if error.errno not in OF_THE_PLACE:
            raise
        sys.exit(f"{error.strerror}: {error.filename}")


if __name__ == "__main__":
    main()
