"""What tests of extensions work with: auth on a bus that asks it, a stranger's client, a webhook of somebody."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client

from deploy.embedded.testing_servers import NatsServer
from services.auth.app import build
from shared.rpc import auth as rpc
from shared.service import Service
from shared.settings import ServiceSettings
from tests.integration.running import until

SECRET = "a secret of this test"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Bed:
    """A bus that asks auth about everybody it does not know; auth and monitor on it may do what they declare."""

    def __init__(self, server: NatsServer, admin: Any) -> None:
        self.server, self.admin = server, admin
        self.service: Service
        self._task: asyncio.Task[None]

    async def start(self) -> None:
        """Auth as its main module starts it, configured by its environment."""
        self.service = build()
        self._task = asyncio.create_task(self.service.run())

        async def is_ready() -> bool:
            return self._task.done() or not self.service.readiness.problems()

        await until(is_ready)

    async def stop(self) -> None:
        self.service.stop()
        await self._task


def environment(settings: ServiceSettings, folder: Path) -> dict[str, str]:
    return {
        "AUTH_NATS_URL": settings.nats_url,
        "AUTH_NATS_PASSWORD": settings.nats_password.get_secret_value(),
        "AUTH_DATABASE_URL": settings.database_url.get_secret_value(),
        "AUTH_ADMIN_KEY_FILE": str(folder / "admin.key"),
        "AUTH_HOME_DIR": str(folder / "home"),
        "AUTH_CALLOUT_SECRET": SECRET,
    }


class Extension:
    """A plain client with the credentials of the answer, and what the bus refused it."""

    def __init__(self, credentials: rpc.ExtensionCredentials) -> None:
        self.credentials, self.refused = credentials, asyncio.Queue[str]()
        self.client, self.gone = Client(), asyncio.Event()

    async def __aenter__(self) -> "Extension":
        given = self.credentials

        async def note(error: Exception) -> None:
            self.refused.put_nowait(str(error))

        async def leave() -> None:
            self.gone.set()

        await self.client.connect(
            given.url,
            user=given.user,
            password=given.password,
            inbox_prefix=given.inbox_prefix.encode(),
            allow_reconnect=False,
            error_cb=note,
            disconnected_cb=leave,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def events(self, count: int) -> list[dict[str, Any]]:
        stream = self.client.jetstream()
        pulled = await stream.pull_subscribe_bind(self.credentials.consumer, self.credentials.stream)
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while len(found) < count:
                for message in await pulled.fetch(1, timeout=30):
                    await message.ack_sync()
                    found.append({"subject": message.subject, **json.loads(message.data)})
        return found

    async def say(self, fact: str, data: Any, **headers: str) -> Any:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        on = self.credentials.publish[fact]
        return await self.client.request(on, body, timeout=30, headers=headers or None)

    async def is_refused(self, what: str, subject: str) -> bool:
        async with asyncio.timeout(60):
            while True:
                told = (await self.refused.get()).lower()
                if f'permissions violation for {what} to "{subject.lower()}"' in told:
                    return True


async def comes_in(credentials: rpc.ExtensionCredentials) -> bool:
    try:
        async with Extension(credentials):
            return True
    except TimeoutError:  # nobody answered the bus
        return False
    except nats.errors.Error as error:
        assert "authorization violation" in str(error).lower(), error
        return False


class Receiver(BaseHTTPRequestHandler):
    """A webhook of somebody, which is out of order at first."""

    taken: list[dict[str, Any]]
    failures: int

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = type(self)
        kind.failures -= 1
        if kind.failures < 0:
            kind.taken.append({"id": self.headers["ce-id"], **body})
        self.send_response(503 if kind.failures >= 0 else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def webhook(failures: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    taken: list[dict[str, Any]] = []
    kind = type("OneReceiver", (Receiver,), {"taken": taken, "failures": failures})
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", taken
        server.shutdown()
        thread.join()


async def example(name: str, *arguments: str) -> list[str]:
    """The lines that an example of ours prints, run as a stranger would: without any of our packages."""
    command = (sys.executable, "-P", str(EXAMPLES / f"{name}.py"), *arguments)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=clean, cwd="/")
    async with asyncio.timeout(120):
        written, _ = await process.communicate()
    assert process.returncode == 0
    return written.decode().splitlines()
