"""Bodies of predictions at the gateway: compressed both ways, raw, and with a timeout within."""

import gzip
import json
import time
import zlib
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import tritonclient.http as triton

from shared import frames, oip
from shared.tensors import from_numpy
from tests.integration.gateway_neighbours import Gateway, bearer
from tests.integration.test_gateway_inference import DOCUMENT, INFER, MODEL, ROWS, Stock, gateway, key, pixels

__all__ = ["gateway", "key"]

BODY = json.dumps(DOCUMENT).encode()


def zeros(rows: int) -> Callable[[frames.Request], Any]:
    """Answers with so many zeros, which compress well."""

    async def answer(request: frames.Request) -> frames.Reply:
        asked = oip.parse_request(request.body, request.header_length)
        output = from_numpy("sum", np.zeros(rows, np.float32))
        encoded = oip.encode_reply(oip.InferReply(MODEL, "3", (output,)), asked)
        return frames.Reply(request.prediction_id, 200, encoded.body, "3", encoded.header_length)

    return answer


async def test_answers_are_compressed_for_those_who_like_it(gateway: Gateway, key: str) -> None:
    for rows, accepted, encoding in (
        (1, "gzip", None),
        (4000, "gzip;q=0.5, deflate", "deflate"),
        (64_000, "gzip, deflate", "gzip"),
        (4000, "br", None),
    ):
        gateway.neighbours.infer = zeros(rows)
        reply = await gateway.http.post(INFER, json=DOCUMENT, headers=bearer(key) | {"Accept-Encoding": accepted})
        assert (reply.status_code, reply.headers.get("content-encoding")) == (200, encoding)
        assert len(reply.json()["outputs"][0]["data"]) == rows
    for algorithm, binary in product(("gzip", "deflate"), (True, False)):
        options = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
        chosen = [triton.InferRequestedOutput("sum", binary_data=binary)]
        result = await Stock(gateway, key).call("infer", MODEL, [pixels(binary=binary)], outputs=chosen, **options)
        np.testing.assert_array_equal(result.as_numpy("sum"), np.zeros(4000, np.float32))


async def test_bodies_are_decompressed_or_refused(gateway: Gateway, key: str) -> None:
    for content, encoding, status in (
        (gzip.compress(BODY), "GZIP", 200),
        (BODY, "identity", 200),
        (BODY, "gzip", 400),
        (gzip.compress(BODY)[:-9], "gzip", 400),
        (gzip.compress(bytes(100_000_000)), "gzip", 413),
        (BODY, "br", 415),
        (BODY, "gzip, deflate", 415),
    ):
        headers = bearer(key) | {"Content-Encoding": encoding}
        reply = await gateway.http.post(INFER, content=content, headers=headers)
        assert (encoding, reply.status_code) == (encoding, status), reply.text
    headers = bearer(key) | {"Inference-Header-Content-Length": "0", "Content-Encoding": "deflate"}
    reply = await gateway.http.post(INFER, content=zlib.compress(ROWS[0].tobytes()), headers=headers)
    length = int(reply.headers["inference-header-content-length"])
    assert np.frombuffer(reply.content[length:], np.float32).tolist() == [ROWS[0].sum()]


async def test_the_shorter_timeout_counts_up_to_the_longest(gateway: Gateway, key: str) -> None:
    for timeout, header, seconds in (
        (40_000_000, None, 40),
        (3_600_000_000, None, 120),
        (0, "50000", 50),
        (40_000_000, "50000", 40),
        (60_000_000, "50000", 50),
    ):
        given = {} if header is None else {"X-Request-Timeout-Ms": header}
        document = DOCUMENT | {"parameters": {"timeout": timeout}}
        before = time.time()
        reply = await gateway.http.post(INFER, json=document, headers=bearer(key) | given)
        assert reply.status_code == 200
        deadline = gateway.neighbours.requests[-1].deadline / 1000
        assert before + seconds - 0.1 < deadline < time.time() + seconds + 0.1
    wrong: Any
    for wrong, status in ((1, 504), (-1, 400), ("1", 400)):
        document = DOCUMENT | {"parameters": {"timeout": wrong}}
        reply = await gateway.http.post(INFER, json=document, headers=bearer(key))
        assert (reply.status_code, list(reply.json())) == (status, ["error"])
