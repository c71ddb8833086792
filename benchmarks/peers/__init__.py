"""Other model servers on the same model, each in an environment of its own, as fast as its own switches make it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.load import Array
from shared.environments import locked

ROOT = Path(__file__).parent
JSON = "application/json"
BINARY = "application/octet-stream"


@dataclass(frozen=True)
class Peer:
    """How one peer is started, asked and read; `how` says what it runs, for the reader of a table.

    In command and settings `{port}` and `{secret}` stand for what each start has of its own.
    """

    name: str
    title: str
    package: str
    command: tuple[str, ...]
    path: str
    content_type: str
    encode: Callable[[Array], bytes]
    decode: Callable[[httpx.Response], Array]
    how: str
    home: str = ""
    variant: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its server and its lock are; variants of one peer share it."""
        return ROOT / (self.home or self.name)

    @property
    def lock(self) -> Path:
        return self.folder / "requirements.txt"

    @property
    def version(self) -> str:
        return locked(self.lock, self.package)

    @property
    def label(self) -> str:
        return f"{self.title} {self.version}{self.variant}"


def chosen(names: str) -> tuple[Peer, ...]:
    """The peers that a comma list names, in the order of PEERS; "all" names them all. Raises ValueError."""
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    known = {peer.name for peer in PEERS}
    if unknown := sorted(wanted - known - {"all"}):
        raise ValueError(f"no peer is called {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return tuple(peer for peer in PEERS if "all" in wanted or peer.name in wanted)


def _json(document: Callable[[list[float]], Any]) -> Callable[[Array], bytes]:
    return lambda row: json.dumps(document(row.tolist())).encode()


def _numbers(find: Callable[[Any], Any]) -> Callable[[httpx.Response], Array]:
    return lambda reply: np.asarray(find(reply.json()), np.float32)


def _tensor(row: list[float]) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "FP32", "data": row}]}


_SERVER = ("server.py",)
_RAY = Peer(
    name="ray_serve",
    title="Ray Serve",
    package="ray",
    command=_SERVER,
    path="/",
    content_type=BINARY,
    encode=lambda row: row.astype("<f4").tobytes(),
    decode=lambda reply: np.frombuffer(reply.content, "<f4"),
    how="onnxruntime in one replica, serve.batch of up to 64 that wait, raw bytes, access log off",
    settings={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "{secret}"},  # it listens on all addresses
)
PEERS = (
    Peer(
        name="mlserver",
        title="MLServer",
        package="mlserver",
        command=_SERVER,
        path="/v2/models/digits/infer",
        content_type=JSON,
        encode=_json(_tensor),
        decode=_numbers(lambda reply: reply["outputs"][0]["data"]),
        how="onnxruntime in the server's process, adaptive batching of 64 within 0.1 ms, JSON of the protocol",
    ),
    Peer(
        name="bentoml",
        title="BentoML",
        package="bentoml",
        command=("-m", "bentoml", "serve", "server:Digits", "--host", "127.0.0.1", "--port", "{port}"),
        path="/predict",
        content_type=JSON,
        encode=_json(lambda row: {"x": [row]}),
        decode=_numbers(lambda reply: reply),
        how="onnxruntime, batchable of 64, one worker, JSON, with uvloop and httptools",
    ),
    Peer(
        name="litserve",
        title="LitServe",
        package="litserve",
        command=_SERVER,
        path="/predict",
        content_type=JSON,
        encode=_json(lambda row: {"x": row}),
        decode=_numbers(lambda reply: reply["logits"]),
        how="onnxruntime in one worker, batches of 64 within 1 ms, JSON, fast_queue",
    ),
    _RAY,
    replace(
        _RAY,
        name="ray_serve_haproxy",
        variant=", HAProxy",
        home="ray_serve",
        how=f"{_RAY.how}, with HAProxy in place of Ray's own proxy",
        settings={**_RAY.settings, "RAY_SERVE_ENABLE_HA_PROXY": "1"},
    ),
)
