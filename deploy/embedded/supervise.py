"""supervisord that looks at its children ten times a second rather than once, so that a crash costs no second."""

from typing import Any

from supervisor.options import ServerOptions
from supervisor.supervisord import go

LOOK_SECONDS = 0.1


def look_often(options: Any) -> None:
    wait = options.poller.poll
    options.poller.poll = lambda timeout: wait(min(timeout, LOOK_SECONDS))


def keep_inherited() -> None:
    """Descriptors from `up` keep the stack's ports reserved while it runs; children are not given them."""


def main() -> None:
    options = ServerOptions()
    look_often(options)
    options.cleanup_fds = keep_inherited
    options.realize(None, doc=__doc__)
    options.first, options.test = True, False
    go(options)
    options.close_httpservers()
    options.close_logger()


if __name__ == "__main__":
    main()
