"""The operators' pages of a running stack in a real browser."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, expect

from shared.streams import SERVICES
from tests.house import House

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
WAIT_MS = 20_000
TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"
CHANGED = "old => document.getElementById('about').textContent !== old"
Scheme = Literal["light", "dark"]


@asynccontextmanager
async def opened(browser: Browser, house: House, scheme: Scheme = "light") -> AsyncIterator[tuple[Page, list[str]]]:
    """A page whose browser knows the administrator's key, and what went wrong on it."""
    context = await browser.new_context(
        base_url=house.stack.info["gateway"],
        color_scheme=scheme,
        http_credentials={"username": "operator", "password": house.key},
        viewport={"width": 1280, "height": 900},
    )
    page = await context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page, problems
    await context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("service", SERVICES)
async def test_the_page_lives(house: House, chromium: Browser, service: str, scheme: Scheme, tmp_path: Path) -> None:
    async with opened(chromium, house, scheme) as (page, problems):
        await page.goto(f"/ops/{service}")
        await expect(page.locator("#ready")).to_have_text("ready", timeout=WAIT_MS)
        await expect(page).to_have_title(f"{service} – AI Mass")
        before = await page.locator("#about").inner_text()
        await page.wait_for_function(CHANGED, arg=before, timeout=WAIT_MS)
        await expect(page.locator(".card .value").first).not_to_be_empty()
        await page.screenshot(path=tmp_path / f"{service}-{scheme}.png", full_page=True)
        assert not await page.evaluate(TOO_WIDE)
        assert problems == []


@pytest.mark.parametrize("service", SERVICES)
async def test_the_interface_is_shown(house: House, chromium: Browser, service: str) -> None:
    operations = house.http.get(f"/ops/{service}/asyncapi.json").json()["operations"]
    async with opened(chromium, house) as (page, problems):
        await page.goto(f"/ops/{service}/asyncapi")
        await expect(page.locator("h1")).to_have_text(f"AI Mass {service}", timeout=WAIT_MS)
        await expect(page.locator("tbody tr")).to_have_count(len(operations))
        assert problems == []


async def test_figures_move_with_what_happens(house: House, chromium: Browser) -> None:
    async with opened(chromium, house) as (page, problems):
        await page.goto("/ops/gateway/")
        count = page.locator("#timings tr", has_text="GET /api/v1/metrics/host").locator("td").nth(1)
        for times in ("1", "2"):
            house.get("metrics/host")
            await expect(count).to_have_text(times, timeout=WAIT_MS)
        assert problems == []


async def test_a_lost_service_is_said_and_found_again(house: House, chromium: Browser) -> None:
    async with opened(chromium, house) as (page, _):
        await page.goto("/ops/registry/")
        await expect(page.locator("#ready")).to_have_text("ready", timeout=WAIT_MS)
        await asyncio.to_thread(house.stack.stop, ["registry"])
        await expect(page.locator("#ready")).to_contain_text("no answer", timeout=WAIT_MS)
        await asyncio.to_thread(house.stack.start, ["registry"])
        await expect(page.locator("#ready")).to_have_text("ready", timeout=WAIT_MS)


async def test_a_small_screen_is_enough(house: House, chromium: Browser) -> None:
    async with opened(chromium, house) as (page, problems):
        await page.set_viewport_size({"width": 390, "height": 800})
        await page.goto("/ops/monitor/")
        await expect(page.locator("#ready")).to_have_text("ready", timeout=WAIT_MS)
        assert not await page.evaluate(TOO_WIDE)
        assert problems == []
