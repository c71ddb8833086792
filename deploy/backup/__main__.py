"""The command line of backups: backup, restore."""

import argparse
import errno
import os
import sys
from pathlib import Path

import nats.errors
import psycopg

from deploy.backup.errors import BackupFailed
from deploy.backup.making import Making, default_folder
from deploy.backup.restoring import Restoring, checked
from deploy.embedded.cluster import ClusterFailed
from deploy.embedded.folders import UnsafeFolder
from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack, StackError
from deploy.machine import UnfitMachine

OF_THE_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
REFUSALS = (BackupFailed, StackError, ClusterFailed, UnfitMachine, UnsafeFolder, psycopg.Error, nats.errors.Error)


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m deploy.backup", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", type=Path, default=DEFAULT_HOME, help="the state folder (default: .aimass)")
    commands = arguments.add_subparsers(dest="command", required=True)
    make = commands.add_parser("backup", parents=[common], help="keep the state of a running stack")
    make.add_argument("destination", nargs="?", type=Path, help="a folder of backups (default: HOME-backups)")
    make.add_argument("--keep", type=positive, help="remove all but so many of the newest backups there")
    back = commands.add_parser("restore", parents=[common], help="make a state folder of a backup")
    back.add_argument("source", type=Path, help="the folder of one backup")
    back.add_argument("--replace", action="store_true", help="move aside what lies in the state folder")
    back.add_argument("--check", action="store_true", help="only look whether the backup can be put back")
    back.add_argument("--up", action="store_true", help="start the stack afterwards")
    return arguments


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


def run(chosen: argparse.Namespace) -> None:
    stack = Stack(chosen.home)
    if chosen.command == "backup":
        Making(stack, chosen.destination or default_folder(stack.home)).make(chosen.keep)
    elif chosen.check:
        manifest = checked(chosen.source.absolute())
        print(f"{chosen.source} can be put back: version {manifest.version}, as it was at {manifest.database_at}")
    else:
        Restoring(chosen.source, stack).restore(chosen.replace)
        if chosen.up:
            stack.up()


def main() -> None:
    os.umask(0o077)
    try:
        run(parser().parse_args())
    except REFUSALS as error:
        sys.exit(str(error))
    except OSError as error:
        if error.errno not in OF_THE_PLACE:
            raise
        sys.exit(f"{error.strerror}: {error.filename}")


if __name__ == "__main__":
    main()
