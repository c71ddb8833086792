"""h2load, a load generator of Debian: unary gRPC calls for a bounded time, one at a time on each connection.

It does not read grpc-status, which stands in trailers: a refusal carries no message, so that the bytes of the answers
tell how many were refused.
"""

import re
import shutil
import statistics
import struct
import subprocess
import tempfile
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse

from benchmarks.load import Array, Measured, Refused, Target
from shared.environments import Unavailable

METHOD = "/inference.GRPCInferenceService/ModelInfer"
PREFIX = struct.Struct(">?I")
LACKING = "it needs the load generator h2load: install Debian's package nghttp2-client"


def target(name: str, address: str, model: str, row: Array, expected: Array, key: str = "") -> Target:
    """Unary calls for one row of a model at host:port, as one HTTP/2 request each; asks once. Raises Unavailable."""
    if shutil.which("h2load") is None:
        raise Unavailable(LACKING)
    request = ModelInferRequest(model_name=model, raw_input_contents=[row.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=row.shape)
    message = request.SerializeToString()
    headers = {"content-type": "application/grpc", "te": "trailers"}
    headers |= {"authorization": f"Bearer {key}"} if key else {}
    body = PREFIX.pack(False, len(message)) + message
    size = PREFIX.size + len(_call(address, message, key))
    return Target(name, f"http://{address}", (METHOD,), body, headers, ask, (expected,), size)


def ask(target: Target, path: str) -> Array:
    """One call by gRPC's own client; raises Refused for another status than OK."""
    key = target.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        reply = _call(target.url.removeprefix("http://"), target.body[PREFIX.size :], key)
    except grpc.RpcError as error:
        raise Refused(f"{target.name} answered {error.code().name}: {error.details()}") from error
    return np.frombuffer(ModelInferResponse.FromString(reply).raw_output_contents[0], "<f4")


def _call(address: str, message: bytes, key: str) -> bytes:
    metadata = [("authorization", f"Bearer {key}")] if key else []
    with grpc.insecure_channel(address) as channel:
        return bytes(channel.unary_unary(METHOD)(message, metadata=metadata, timeout=30))


def run(target: Target, connections: int, seconds: int) -> Measured:
    """Load the target from this machine with this many connections."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(target.body)
        command = ["h2load", "-t1", f"-c{connections}", "-m1", f"-D{seconds}", f"-d{body}", f"--log-file={log}"]
        for name, value in target.headers.items():
            command += ["-H", f"{name}: {value}"]
        command.append(f"{target.url}{target.paths[0]}")
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
        return parse(output, log.read_text(), seconds, target.reply_bytes)


def parse(output: str, log: str, seconds: float, reply_bytes: int) -> Measured:
    """What h2load printed, and its log of one line a request: start, status and duration in microseconds."""
    found = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded", output)
    data = re.search(r"traffic: .*\((\d+)\) data", output)
    if found is None or data is None:
        raise ValueError(f"h2load printed no counts:\n{output}")
    done, well = int(found[1]), min(int(found[2]), round(int(data[1]) / reply_bytes))
    took = [int(line.split("\t")[2]) / 1e3 for line in log.splitlines()]
    return Measured(well, done - well, seconds, _at(took, 50), _at(took, 99))


def _at(took: list[float], percent: int) -> float:
    if len(took) < 2:
        return took[0] if took else 0.0
    return statistics.quantiles(took, n=100, method="inclusive")[percent - 1]
