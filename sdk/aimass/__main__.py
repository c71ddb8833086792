"""`python -m aimass`, and the command `aimass`."""

import sys

NEEDED = "aimass: the command line needs typer and rich: pip install 'aimass[cli]' (from a checkout: './sdk[cli]')"


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError:
        print(NEEDED, file=sys.stderr)
        sys.exit(2)
    from aimass.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
