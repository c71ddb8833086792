"""Debian's Chromium without a window, and one whole stack whose pages it opens."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from deploy.embedded.stack import Stack
from tests.house import House

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    stack = Stack(tmp_path_factory.mktemp("browser"))
    try:
        stack.up()
        yield House(stack)
    finally:
        stack.down()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(house: House) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()
