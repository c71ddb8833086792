"""The prediction log on a real NATS: what may have been said is said again as it was."""

import json
import time
from pathlib import Path
from typing import Any

import nats
from nats.js import JetStreamContext

from deploy.embedded.testing_servers import nats_server
from services.inference.prediction_log import PredictionLog, Rows
from shared.names import new_id
from shared.streams import STREAMS


def rows(count: int) -> Rows:
    ids = tuple(bytes.fromhex(new_id().replace("-", "")) for _ in range(count))
    return Rows(ids, (f"00-{'a' * 32}-{'b' * 16}-00",) * count, 1, 200, 0.001, 1, "key", False, time.time())


class Deaf:
    """A bus that takes what is said, and whose word of it is lost."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def publish(self, *given: Any, **named: Any) -> None:
        await self._js.publish(*given, **named)
        raise nats.errors.TimeoutError


async def test_what_the_bus_may_have_is_kept_once(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as server:
        connection = await nats.connect(server.url)
        js = connection.jetstream()
        await js.add_stream(next(config for config in STREAMS if config.name == "PRED"))
        log = PredictionLog("n1")
        log.add("default", "m", rows(3))
        await log.flush(Deaf(js))  # type: ignore[arg-type]
        log.add("default", "m", rows(2))
        await log.flush(js)
        found = [await js.get_msg("PRED", place) for place in (1, 2)]
        counts = [len(json.loads(each.data or b"")["columns"]["prediction_ids"]) for each in found]
        assert counts == [3, 2]
        assert (await js.stream_info("PRED")).state.messages == 2
        await connection.close()
