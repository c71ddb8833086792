"""Ray in an environment of its own that also sees the platform's packages: `./justw ray start --head`, `ray status`, ...

It is made at the first use, which brings two packages more; both must be of the same versions on all nodes.
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
    os.execve(command[0], command, SILENT | os.environ)


if __name__ == "__main__":
    main()
