"""A short load counts answers alone, and stops with the first that is none."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from benchmarks.short_load import NotAnswered, ShortLoad

BODY, KEY = b"question", {"Authorization": "Bearer key"}


class Server:
    """Answers until `last`, and then refuses."""

    def __init__(self) -> None:
        self.url, self.asked, self.last = "", 0, 10**9

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        assert await request.read() == BODY
        assert request.headers["Authorization"] == KEY["Authorization"]
        return web.Response(status=200 if self.asked <= self.last else 429, text="no more")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    application = web.Application()
    application.router.add_post("/", found.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield found
    finally:
        await runner.cleanup()


def load(server: Server) -> ShortLoad:
    return ShortLoad(server.url, BODY, KEY, callers=3, calls=10, warm_up=2, seconds=0.2)


async def test_it_tells_what_one_caller_waits_and_what_a_few_get(server: Server) -> None:
    speed = await load(server).measure()
    assert speed.p50_ms > 0
    assert 0 < speed.requests_per_second * 0.2 <= server.asked


@pytest.mark.parametrize("last", [0, 5, 30])
async def test_a_refusal_is_no_answer(last: int, server: Server) -> None:
    server.last = last
    with pytest.raises(NotAnswered, match="answered 429: no more"):
        await load(server).measure()


async def test_nobody_there_is_no_answer(server: Server) -> None:
    with pytest.raises(NotAnswered, match="did not answer"):
        await ShortLoad("http://127.0.0.1:1/", BODY, KEY).measure()
