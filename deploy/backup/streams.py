"""Streams by the bus's own snapshots: messages, numbers and the places of consumers, while all goes on."""

import json
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from deploy.backup.errors import BackupFailed
from deploy.backup.manifest import Stream

CHUNK_BYTES = 128 * 1024
PATIENCE_SECONDS = 60.0
LAST = "DLQ"
BUCKETS = "KV_"
PADDING = "padding"
PADDING_AT_ONCE = 500


async def connect(url: str) -> Client:
    return await nats.connect(url, connect_timeout=5, max_reconnect_attempts=3)


async def names(connection: Client) -> list[str]:
    """All streams of the bus, dead letters last: what a consumer gave up on lies there before it is acknowledged."""
    found = [info.config.name or "" for info in await connection.jetstream(timeout=PATIENCE_SECONDS).streams_info()]
    return sorted(found, key=lambda name: (name == LAST, name))


async def keep(connection: Client, name: str, path: Path) -> Stream:
    """Write a snapshot of the stream to a file; raises BackupFailed when the bus ends it early."""
    deliver = connection.new_inbox()
    subscription = await connection.subscribe(deliver)
    try:
        request = {"deliver_subject": deliver, "chunk_size": CHUNK_BYTES, "jsck": True}
        told = await _ask(connection, f"$JS.API.STREAM.SNAPSHOT.{name}", request)
        with path.open("wb") as file:
            while chunk := _chunk(name, message := await subscription.next_msg(PATIENCE_SECONDS)):
                file.write(chunk)
                if message.reply:  # the bus asks for one now and then, so as not to outrun the reader
                    await message.respond(b"")
    finally:
        await subscription.unsubscribe()
    return Stream(path.name, told["config"], told["state"], told["state"]["last_seq"])


def _chunk(name: str, message: Msg) -> bytes:
    """A piece of the snapshot; the last one is empty, and says in its header if it ends too early."""
    status = (message.headers or {}).get("Status", "204")
    if status != "204":
        raise BackupFailed(f"the bus ended the snapshot of stream {name}: {status} {message.headers}")
    return message.data


async def last(connection: Client, name: str) -> int:
    """The greatest number that the stream has given."""
    info = await connection.jetstream(timeout=PATIENCE_SECONDS).stream_info(name)
    return int(info.state.last_seq)


async def put_back(connection: Client, name: str, stream: Stream, path: Path) -> None:
    """Make the stream of its file on a bus that does not have it, with its consumers where they were."""
    request = {"config": stream.config, "state": stream.state}
    told = await _ask(connection, f"$JS.API.STREAM.RESTORE.{name}", request)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            await _checked(name, await connection.request(told["deliver_subject"], chunk, timeout=PATIENCE_SECONDS))
    await _checked(name, await connection.request(told["deliver_subject"], b"", timeout=PATIENCE_SECONDS))
    if (found := await last(connection, name)) != stream.last:
        raise BackupFailed(f"stream {name} came back up to message {found}, not {stream.last}")


async def skip_given_numbers(connection: Client, name: str, stream: Stream) -> None:
    """Leave out the numbers that were given after the snapshot: whoever remembers one must not miss another message."""
    subjects = [subject for subject in stream.config["subjects"] if subject.endswith((".>", ".*"))]
    if name.startswith(BUCKETS) or not subjects or stream.given <= stream.last:
        return
    jetstream = connection.jetstream(timeout=PATIENCE_SECONDS)
    subject = f"{subjects[0][:-1]}{PADDING}"
    for number in range(stream.last, stream.given):
        await jetstream.publish_async(subject, b"")
        if number % PADDING_AT_ONCE == 0:
            await jetstream.publish_async_completed()
    await jetstream.publish_async_completed()
    await jetstream.purge_stream(name, subject=subject)


async def _ask(connection: Client, subject: str, request: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        (await connection.request(subject, json.dumps(request).encode(), timeout=PATIENCE_SECONDS)).data
    )
    if "error" in told:
        raise BackupFailed(f"the bus refuses {subject}: {told['error']['description']}")
    return told


async def _checked(name: str, answer: Msg) -> None:
    """An answer to a piece is empty, or tells how the whole ended."""
    told = json.loads(answer.data) if answer.data else {}
    if "error" in told:
        raise BackupFailed(f"the bus refuses to put stream {name} back: {told['error']['description']}")
