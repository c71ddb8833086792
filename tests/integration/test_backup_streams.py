"""Streams of a backup on a real bus: numbers that were given after the snapshot are given to nothing else."""

import json
from collections.abc import Iterator

import nats
import pytest
from nats.js.api import StreamConfig

from deploy.backup import streams
from deploy.backup.manifest import Stream
from deploy.embedded.testing_servers import NatsServer, nats_server
from shared.streams import STREAMS

KEPT = [stream for stream in STREAMS if not (stream.name or "").startswith(streams.BUCKETS)]
GIVEN = 7


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.mark.parametrize("stream", KEPT, ids=lambda stream: str(stream.name))
async def test_numbers_given_after_the_snapshot_are_left_out(server: NatsServer, stream: StreamConfig) -> None:
    connection = await nats.connect(server.url)
    jetstream = connection.jetstream(timeout=60)
    info = await jetstream.add_stream(stream)
    kept = Stream("S", json.loads(json.dumps(info.config.as_dict())), {"last_seq": 0}, given=GIVEN)
    await streams.skip_given_numbers(connection, kept.config["name"], kept)
    state = (await jetstream.stream_info(kept.config["name"])).state
    assert (state.last_seq, state.messages) == (GIVEN, 0)
    await connection.close()
