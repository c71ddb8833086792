"""The two Python clients do the same: each against a server that answers as it is told and notes what it got."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aimass
import pytest

ACCEPTED = {"id": "train-1", "state": "queued", "correlation_id": "c"}
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Script:
    """Answers by turns, and the requests that came: method, path, headers and body."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def say(self, status: int = 200, document: Any = None, **headers: str) -> None:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, told, json.dumps(document).encode()))

    def stream(self, *pieces: str) -> None:
        self.answers.append((200, {"Content-Type": "text/event-stream"}, "".join(pieces).encode()))


@contextmanager
def played(script: Script) -> Iterator[Script]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.asked.append((self.command, self.path, dict(self.headers), body))
            status, headers, content = script.answers.pop(0)
            if status == 0:
                self.close_connection = True  # as a gateway that dies: no answer at all
                return
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_port}"
        yield script
        server.shutdown()
        thread.join()


@pytest.fixture
def script() -> Iterator[Script]:
    with played(Script()) as started:
        yield started


class Waiting:
    """What a caller who waits does."""

    async def call(self, script: Script, do: Callable[[Any], Any], seconds: float | None = None) -> Any:
        def work() -> Any:
            with aimass.Client(script.url, "aim_x") as client:
                found = do(client if seconds is None else client.within(seconds))
                return list(found) if hasattr(found, "__next__") else found

        return await asyncio.to_thread(work)


class Awaiting:
    """What a caller who awaits does."""

    async def call(self, script: Script, do: Callable[[Any], Any], seconds: float | None = None) -> Any:
        async with aimass.AsyncClient(script.url, "aim_x") as client:
            found = do(client if seconds is None else client.within(seconds))
            return [item async for item in found] if isinstance(found, AsyncIterator) else await found


both = pytest.mark.parametrize("kind", [Waiting(), Awaiting()], ids=["waiting", "awaiting"])
Kind = Waiting | Awaiting


@both
async def test_a_task_is_submitted_once_by_the_same_key(script: Script, kind: Kind) -> None:
    script.answers.append((0, {}, b""))
    script.say(503, {"detail": "busy"}, Retry_After="0")
    script.say(202, ACCEPTED)
    assert await kind.call(script, lambda client: client.train("m", {"epochs": 1})) == ACCEPTED
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in script.asked}
    assert (len(script.asked), len(keys)) == (3, 1)
    assert json.loads(script.asked[2][3])["config"] == {"epochs": 1}
    assert script.asked[0][2]["Authorization"] == "Bearer aim_x"


@both
async def test_what_may_have_been_done_is_told_instead(script: Script, kind: Kind) -> None:
    script.answers.append((0, {}, b""))
    with pytest.raises(aimass.Unavailable):
        await kind.call(script, lambda client: client.create_api_key("ci", ["viewer"]))
    assert len(script.asked) == 1


@both
async def test_a_deadline_goes_along_and_ends_the_attempts(script: Script, kind: Kind) -> None:
    script.say(503, {"error": "busy"}, Retry_After="20")
    with pytest.raises(aimass.Unavailable, match="busy"):
        await kind.call(script, lambda client: client.infer("m", []), seconds=3)
    assert len(script.asked) == 1
    assert 2000 < int(script.asked[0][2]["X-Request-Timeout-Ms"]) <= 3000


@both
async def test_lists_are_gone_through_page_by_page(script: Script, kind: Kind) -> None:
    script.say(200, {"tasks": [{"id": "1"}, {"id": "2"}], "next": "after-2"})
    script.say(200, {"tasks": [{"id": "3"}], "next": ""})
    tasks = await kind.call(script, lambda client: client.each_task(kind="train", page=2))
    assert [task["id"] for task in tasks] == ["1", "2", "3"]
    paths = [path for _, path, _, _ in script.asked]
    assert paths == [f"/api/v1/tasks?kind=train&limit=2{more}" for more in ("", "&cursor=after-2")]
    script.say(200, {"versions": [{"version": 2}, {"version": 1}]})
    script.say(200, {"versions": []})
    assert len(await kind.call(script, lambda client: client.each_version("m", page=2))) == 2
    assert script.asked[-1][1].endswith("before=1&limit=2")


@both
async def test_a_stream_goes_on_where_it_was_cut_off(script: Script, kind: Kind) -> None:
    script.stream('id: 1\ndata: {"line": "a"}\n\n', ": alive\n\n", 'id: 2\ndata: {"line": "b"}\n\n', "id: 3\nda")
    script.say(503, {"detail": "too many event streams"}, Retry_After="5")
    script.stream('id: 3\ndata: {"line": "c"}\n\n', 'event: end\ndata: {"state": "succeeded"}\n\n')
    lines = await kind.call(script, lambda client: client.follow_logs("train-1"))
    assert [line["line"] for line in lines] == ["a", "b", "c"]
    assert [headers.get("Last-Event-ID") for _, _, headers, _ in script.asked] == [None, "2", "2"]


@both
async def test_a_stream_that_is_refused_is_an_error(script: Script, kind: Kind) -> None:
    script.say(404, {"detail": "there is no task"})
    with pytest.raises(aimass.NotFound, match="there is no task"):
        await kind.call(script, lambda client: client.follow_logs("train-1"))


@both
async def test_what_is_no_gateway_is_told(script: Script, kind: Kind) -> None:
    script.answers.append((200, {"Content-Type": "text/html"}, b"<html>"))
    with pytest.raises(aimass.ApiError, match="is no gateway"):
        await kind.call(script, lambda client: client.models())


@both
async def test_files_go_and_come_whole(script: Script, kind: Kind, tmp_path: Path) -> None:
    rows, result = tmp_path / "rows.csv", tmp_path / "result.csv"
    rows.write_bytes(b"a,b\n" * 200_000)
    script.say(503, {"detail": "other files are coming in"}, Retry_After="0")
    script.say(202, ACCEPTED)
    await kind.call(script, lambda client: client.batch("m", rows))
    assert [body == rows.read_bytes() for _, _, _, body in script.asked] == [True, True]
    assert "Transfer-Encoding" not in script.asked[1][2]
    script.answers.append((200, {}, b"done" * 100_000))
    assert await kind.call(script, lambda client: client.batch_result("batch-1", result)) == result
    assert result.read_bytes() == b"done" * 100_000
    script.say(409, {"detail": "it has not ended"})
    with pytest.raises(aimass.Conflict):
        await kind.call(script, lambda client: client.batch_result("batch-1", tmp_path / "other"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.csv", "rows.csv"]


@both
async def test_a_task_is_watched_to_its_end(script: Script, kind: Kind) -> None:
    script.say(200, {"state": "running"})
    script.say(504, {"detail": "no answer in time"})
    script.say(200, {"state": "succeeded"})
    seen = await kind.call(script, lambda client: client.watch("train-1", every=0.01))
    assert [task["state"] for task in seen] == ["running", "succeeded"]


async def test_callers_who_await_ask_at_the_same_time(script: Script) -> None:
    for _ in range(20):
        script.say(200, {"models": []})
    async with aimass.AsyncClient(script.url, "aim_x") as client:
        assert await asyncio.gather(*(client.models() for _ in range(20))) == [[]] * 20


async def test_a_stream_that_is_left_is_closed(script: Script) -> None:
    script.stream('id: 1\ndata: {"line": "a"}\n\n', 'id: 2\ndata: {"line": "b"}\n\n')
    async with aimass.AsyncClient(script.url, "aim_x") as client:
        lines = client.follow_logs("train-1")
        assert (await anext(lines))["line"] == "a"
        await lines.aclose()
        script.say(200, {"models": []})
        assert await client.models() == []
    assert len(script.asked) == 2
