"""What is measured: a model, the bodies that it gets, and whom they are sent to."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from aimass import Client, Unauthenticated

from benchmarks import h2load, load
from benchmarks.brought import answer, bring, digit, digits_mlp, image_mean
from benchmarks.load import Array, Load, Target, over_http
from benchmarks.started import Question
from examples.champion import client_of, ensure_champion
from shared import oip, tensors
from shared.tensors import Tensor

MLP = "bench-digits-mlp"
IMAGES = "bench-image"
CNN = "digits-cnn"
MIXED = {f"bench-mixed-{hidden}": hidden for hidden in (16, 32, 64, 128, 256)}
KNOWN_SECONDS = 60.0
TRITON, GATEWAY = "Triton", "gateway"


@dataclass(frozen=True)
class Case:
    """One comparison: the limit first, then the gateway; with a question, peers are asked it as well."""

    name: str
    title: str
    connections: tuple[int, ...]
    targets: tuple[Target, ...]
    load: Load = load.run
    question: Question | None = None


@dataclass(frozen=True)
class Place:
    """A running stack, the admin's client and key, a folder for models, and what is undone at the end."""

    info: dict[str, Any]
    client: Client
    folder: Path
    closing: ExitStack

    @property
    def key(self) -> str:
        return Path(self.info["admin_key_file"]).read_text().strip()


@dataclass(frozen=True)
class Served:
    """A version that answers, and what it must answer."""

    model: str
    version: int
    expected: Array


def pair(place: Place, served: Sequence[Served], inputs: Tensor, binary: bool) -> tuple[Target, Target]:
    """Triton itself and the gateway with the same body, on the same models in turn."""
    body, headers = _body(inputs, binary)
    triton = tuple(f"/v2/models/default.{one.model}.{one.version}/infer" for one in served)
    gateway = tuple(f"/v2/models/{one.model}/infer" for one in served)
    expected, key = tuple(one.expected for one in served), {"Authorization": f"Bearer {place.key}"}
    ask = over_http(read_reply)
    return (
        Target(TRITON, place.info["triton"]["http"], triton, body, headers, ask, expected),
        Target(GATEWAY, place.info["gateway"], gateway, body, headers | key, ask, expected),
    )


def _body(inputs: Tensor, binary: bool) -> tuple[bytes, dict[str, str]]:
    if binary:
        encoded = oip.encode_request(oip.InferRequest((inputs,)))
        length = {oip.HEADER_LENGTH: str(encoded.header_length)}
        return encoded.body, length | {"Content-Type": "application/octet-stream"}
    entry = {"name": inputs.name, "shape": inputs.shape, "datatype": inputs.datatype}
    data = {"data": tensors.to_json(inputs, inputs.name)}
    return json.dumps({"inputs": [entry | data]}).encode(), {"Content-Type": "application/json"}


def read_reply(reply: httpx.Response) -> Array:
    """The one output of a reply of the Open Inference Protocol."""
    length = oip.parse_header_length(reply.headers.get(oip.HEADER_LENGTH))
    (output,) = oip.decode_reply(reply.content, length).outputs
    return tensors.to_numpy(output)


def mlp(place: Place, binary: bool = True) -> Case:
    model, row = _mlp_file(place), digit()
    expected = answer(model.read_bytes(), row[None])
    served = Served(MLP, bring(place.client, MLP, model.read_bytes()), expected)
    targets = pair(place, [served], tensors.from_numpy("x", row[None]), binary)
    if not binary:
        return Case("json", "digits MLP 64→64→10, one row, JSON bodies", (16, 64), targets)
    title = "digits MLP 64→64→10, one row, binary tensors to Triton and the gateway"
    return Case("mlp", title, (1, 16, 64, 256), targets, question=Question(model, row, expected[0]))


def _mlp_file(place: Place) -> Path:
    """Trained once a folder: the file is what peers serve too."""
    path = place.folder / "digits-mlp.onnx"
    if not path.exists():
        draft = path.with_suffix(".draft")
        draft.write_bytes(digits_mlp())
        draft.replace(path)
    return path


def image(place: Place) -> Case:
    model, pixels = image_mean(), np.ones((1, 3, 224, 224), np.float32)
    served = Served(IMAGES, bring(place.client, IMAGES, model), answer(model, pixels))
    targets = pair(place, [served], tensors.from_numpy("x", pixels), binary=True)
    return Case("image", "one image 1×3×224×224 FP32 (600 KB), binary", (1, 16), targets)


def mixed(place: Place) -> Case:
    """Five models in turn on each connection."""
    row, models = digit()[None], {name: digits_mlp(hidden) for name, hidden in MIXED.items()}
    served = [Served(name, bring(place.client, name, model), answer(model, row)) for name, model in models.items()]
    targets = pair(place, served, tensors.from_numpy("x", row), binary=True)
    return Case("mixed", "five digits MLPs in turn, one row each, binary", (16, 64), targets)


def cnn(place: Place) -> Case:
    """The library's own digits-cnn, trained on the stack; Triton's answer is the one expected."""
    inputs = tensors.from_numpy("image", digit().reshape(1, 1, 8, 8))
    served = Served(CNN, ensure_champion(place.info, CNN), np.zeros((1, 10)))
    triton, _ = pair(place, [served], inputs, binary=True)
    right = replace(served, expected=triton.ask(triton, triton.paths[0]))
    targets = pair(place, [right], inputs, binary=True)
    return Case("cnn", "digits-cnn, one image of 8×8, binary", (1, 16, 64, 256), targets)


def grpc(place: Place) -> Case:
    """Unary ModelInfer over HTTP/2, one call at a time on each connection."""
    row = digit()[None]
    model = _mlp_file(place).read_bytes()
    version = bring(place.client, MLP, model)
    targets = (
        h2load.target(TRITON, place.info["triton"]["grpc"], f"default.{MLP}.{version}", row, answer(model, row)),
        h2load.target(GATEWAY, place.info["gateway_grpc"], MLP, row, answer(model, row), _passing_key(place)),
    )
    return Case("grpc", "digits MLP 64→64→10, one row, gRPC unary, by h2load", (16, 64), targets, h2load.run)


def _passing_key(place: Place) -> str:
    """h2load takes headers in argv only: a key that may not administer, revoked at the end."""
    until = datetime.now(UTC) + timedelta(hours=1)
    made = place.client.create_api_key("benchmark", ["operator"], expires_at=until.isoformat())
    place.closing.callback(place.client.revoke_api_key, made["id"])
    _wait_known(place.info["gateway"], made["secret"])
    return made["secret"]


def _wait_known(gateway: str, key: str) -> None:
    deadline = time.monotonic() + KNOWN_SECONDS
    with Client(gateway, key) as client:
        while True:
            try:
                client.deployments()
                return
            except Unauthenticated:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)


CASES: dict[str, Callable[[Place], Case]] = {
    "mlp": mlp,
    "image": image,
    "json": partial(mlp, binary=False),
    "grpc": grpc,
    "mixed": mixed,
    "cnn": cnn,
}
QUICK = ("mlp", "image")


@contextmanager
def place_of(info: dict[str, Any], folder: Path) -> Iterator[Place]:
    folder.mkdir(parents=True, exist_ok=True)
    with client_of(info) as client, ExitStack() as closing:
        yield Place(info, client, folder, closing)
