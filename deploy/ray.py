"""Ray's command in an environment of its own that also sees the platform's packages: `./justw ray start --head`.

It is made at the first use and has two packages more than the platform.
"""

import os
import sys
import sysconfig
from pathlib import Path

from shared.environments import Unavailable, environment

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv-ray"
LOCK = ROOT / "deploy" / "ray.lock"
SILENT = {"RAY_USAGE_STATS_ENABLED": "0"}


def python() -> Path:
    """The interpreter with Ray. Raises Unavailable."""
    found = environment(ENVIRONMENT, LOCK)
    packages = Path(sysconfig.get_path("purelib"))
    seen = ENVIRONMENT / packages.relative_to(sys.prefix) / "platform.pth"
    seen.write_text(f"{packages}\n")
    return found


def main() -> None:
    try:
        command = [str(python()), str(ENVIRONMENT / "bin" / "ray"), *sys.argv[1:]]
    except Unavailable as error:
        sys.exit(f"ray: {error}")
    os.execve(command[0], command, SILENT | os.environ)  # noqa: S606


if __name__ == "__main__":
    main()
