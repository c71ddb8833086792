"""`python -m aimass`, and the command `aimass`."""

import gc
import sys
from types import ModuleType

NEEDED = "aimass: the command line needs typer and rich: pip install 'aimass[cli]' (from a checkout: './sdk[cli]')"


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError:
        print(NEEDED, file=sys.stderr)
        sys.exit(2)
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    modules["httpx._main"] = None  # a command line of its own, which took a seventh of every command of ours
    gc.disable()
    from aimass.cli.main import main as run

    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
