"""The command line `aimass` as the admin of the running stack: python -m deploy.embedded.command_line COMMAND."""

import os
import sys
from pathlib import Path

from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack, StackError


def main() -> None:
    stack = Stack(DEFAULT_HOME)
    try:
        stack.check_running()
    except StackError as error:
        sys.exit(str(error))
    key = Path(stack.info["admin_key_file"]).read_text().strip()
    environment = os.environ | {"AIMASS_URL": stack.info["gateway"], "AIMASS_API_KEY": key}
    os.execve(sys.executable, [sys.executable, "-m", "aimass", *sys.argv[1:]], environment)  # noqa: S606


if __name__ == "__main__":
    main()
