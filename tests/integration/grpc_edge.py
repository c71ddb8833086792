"""The gateway over gRPC beside a neighbour that gives every tensor back, and what one asks it with stock clients."""

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
import pytest_asyncio
import tritonclient.grpc.aio as stock
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from deploy.embedded.ports import free_port
from deploy.provision import provision_bus_over
from services.gateway.handlers import HANDLERS
from shared import frames, oip
from shared.errors import NotFound
from shared.permissions import Role
from shared.rpc.inference import ServedModel
from tests.integration.gateway_neighbours import SIGNATURE, Gateway, running_gateway
from tests.integration.running import guarded_bus

BODY_LIMIT = 1_000_000
MODEL = "mirror"
TRACE = "0af7651916cd43dd8448eb211c80319c"
NUMBERS = np.array([[0, 1], [2, 100]])
ARRAYS = {
    "BOOL": NUMBERS.astype(bool),
    **{
        f"{sign}{bits}": NUMBERS.astype(f"{sign.lower()}{bits}") for sign in ("INT", "UINT") for bits in (8, 16, 32, 64)
    },
    "FP16": NUMBERS.astype(np.float16),
    "BF16": NUMBERS.astype(ml_dtypes.bfloat16),
    "FP32": np.array([[1.5, -0.0], [np.inf, np.nan]], np.float32),
    "FP64": np.array([[1e300, -0.0], [np.inf, np.nan]]),
    "BYTES": np.array([[b"", "ä".encode()], [b"\x00\xff", b"text"]], dtype=object),
}
TYPED = {name: array for name, array in ARRAYS.items() if name not in ("FP16", "BF16")}


async def mirror(request: frames.Request) -> frames.Reply:
    """Gives each input `x_...` back as `y_...`, with the encoding of inference."""
    asked = oip.parse_request(request.body, request.header_length)
    outputs = tuple(tensor._replace(name=tensor.name.replace("x_", "y_")) for tensor in asked.inputs)
    parameters = {"prediction_id": str(uuid.UUID(bytes=request.prediction_id)), "given": len(asked.parameters)}
    reply = oip.InferReply(MODEL, request.version or "3", outputs, parameters=parameters)
    return frames.Reply(request.prediction_id, 200, *_places(oip.encode_reply(reply, asked)))


def _places(encoded: oip.Encoded) -> tuple[bytes, str, int | None]:
    return encoded.body, "3", encoded.header_length


async def silence(_: frames.Request) -> None:
    return None


@dataclass
class Edge:
    """The gateway, its address for gRPC, and the metadata of one who may infer."""

    gateway: Gateway
    address: str
    headers: dict[str, str]
    client: stock.InferenceServerClient

    @property
    def last(self) -> frames.Request:
        return self.gateway.neighbours.requests[-1]

    async def infer(self, *tensors: Any, model: str = MODEL, **options: Any) -> Any:
        given = {"headers": self.headers} | options
        return await self.client.infer(model, list(tensors or [tensor("FP32")]), **given)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    port, grpc_port = free_port(), free_port()
    with (
        guarded_bus(tmp_path_factory.mktemp("nats"), HANDLERS) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("GATEWAY_NATS_URL", server.servers)
        patch.setenv("GATEWAY_NATS_PASSWORD", "password")
        patch.setenv("GATEWAY_PORT", str(port))
        patch.setenv("GATEWAY_GRPC_PORT", str(grpc_port))
        patch.setenv("GATEWAY_INFER_BYTES", str(BODY_LIMIT))
        await provision_bus_over(server.url, [HANDLERS.declaration])
        async with running_gateway(server, f"http://127.0.0.1:{port}") as gateway:
            await gateway.neighbours.serve(MODEL)
            key = await gateway.make_key(Role.OPERATOR, key_id="key-1")
            await gateway.becomes(key, 200)
            address = f"127.0.0.1:{grpc_port}"
            async with stock.InferenceServerClient(address) as client:
                yield Edge(gateway, address, {"authorization": f"Bearer {key}"}, client)


@pytest_asyncio.fixture(loop_scope="module")
async def stub(edge: Edge) -> AsyncIterator[Any]:
    """What the protocol's own client is generated as."""
    async with grpc.aio.insecure_channel(edge.address) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.fixture(autouse=True)
def neighbours(edge: Edge) -> Iterator[None]:
    """Each test begins with the same neighbours."""
    served = ServedModel(model=MODEL, ready=True, version=3, versions=[2, 3], signature=SIGNATURE)
    edge.gateway.neighbours.answers |= {"get_model": NotFound("unknown"), "get_served_model": served}
    edge.gateway.neighbours.infer = mirror
    edge.gateway.neighbours.requests.clear()
    yield


def tensor(datatype: str, array: Any = None, name: str = "") -> Any:
    array = ARRAYS[datatype] if array is None else array
    found = stock.InferInput(name or f"x_{datatype}", list(array.shape), datatype)
    found.set_data_from_numpy(array)
    return found


async def refused(answer: Any) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as caught:
        await answer
    return caught.value
