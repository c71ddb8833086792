"""Looking: what is right whatever events are late, since it looks again and again at what is there."""

import asyncio
from collections.abc import Awaitable, Callable

from shared import observe
from shared.errors import AimassError


async def keep_looking(what: str, look: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Look for ever: at once again while there was something to do, else after a pause; what fails is tried again."""
    while True:
        try:
            while await look():
                continue
        except AimassError as error:
            observe.log().debug("cannot look now", what=what, error=error.message)
        except Exception as error:
            observe.log().error("look failed", what=what, exc_info=error)
        await asyncio.sleep(seconds)
