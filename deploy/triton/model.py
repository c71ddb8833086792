"""One model for Triton's Python backend that serves any ONNX file through onnxruntime.

The repository copies this file beside each model.onnx. It runs in Triton's own environment.
"""

import json
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported, which otherwise reports home

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as triton

MODEL_FILE = "model.onnx"
THREADS = "intra_op_num_threads"
NUMBERS = "aimass.numbers"
MESSAGE_LIMIT = 300

Arrays = dict[str, Any]


class TritonPythonModel:
    """Loads the session once; runs the requests of a batch together where their shapes allow it.

    Numbers of rows that a request brings go back with the rows' answers: who asked sees by them whose answers they are.
    """

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self._batched = config["max_batch_size"] > 0
        self._strings = {output["name"] for output in config["output"] if output["data_type"] == "TYPE_STRING"}
        folder = Path(args["model_repository"]) / args["model_version"]
        threads = int(config["parameters"].get(THREADS, {}).get("string_value", "1"))
        self._session = ort.InferenceSession(folder / MODEL_FILE, options(threads), ["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        responses: list[Any] = [None] * len(requests)
        for positions in self._groups(requests):
            for position, response in zip(positions, self._answer([requests[i] for i in positions]), strict=True):
                responses[position] = response
        return responses

    def _groups(self, requests: list[Any]) -> list[list[int]]:
        """Positions of requests that can share a run: equal shapes beyond the batch."""
        if not self._batched or len(requests) == 1:
            return [[position] for position in range(len(requests))]
        groups: dict[Any, list[int]] = defaultdict(list)
        for position, request in enumerate(requests):
            key = tuple(sorted((tensor.name(), tuple(tensor.shape()[1:])) for tensor in request.inputs()))
            groups[key].append(position)
        return list(groups.values())

    def _answer(self, requests: list[Any]) -> list[Any]:
        """One response a request; when a shared run fails each runs alone, so that only the culprit fails."""
        try:
            return self._run(requests)
        except Exception as error:
            if len(requests) > 1:
                return [response for request in requests for response in self._answer([request])]
            return [triton.InferenceResponse(error=failure(error))]

    def _run(self, requests: list[Any]) -> list[Any]:
        feeds = [arrays(request) for request in requests]
        wanted = [request.requested_output_names() for request in requests]
        names = list(dict.fromkeys(name for names in wanted for name in names if name != NUMBERS))
        given = joined(feeds)
        results = {NUMBERS: given.pop(NUMBERS)} if NUMBERS in given else {}
        results |= zip(names, self._session.run(names, given), strict=True)
        parts = split(results, feeds) if len(requests) > 1 else [results]
        return [self._response(part, names) for part, names in zip(parts, wanted, strict=True)]

    def _response(self, results: Arrays, names: list[str]) -> Any:
        """Numbers are wanted of every request, also of one that has brought none."""
        found = [name for name in names if name in results]
        return triton.InferenceResponse([triton.Tensor(name, self._plain(name, results[name])) for name in found])

    def _plain(self, name: str, array: Any) -> Any:
        if name in self._strings:
            return np.array([str(text).encode() for text in array.ravel()], object).reshape(array.shape)
        return array


def options(threads: int) -> Any:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    return settings


def arrays(request: Any) -> Arrays:
    """What a request brings, its numbers first: Triton may write anew where a request lay that it gave up."""
    tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    numbers = {NUMBERS: tensors.pop(NUMBERS).copy()} if NUMBERS in tensors else {}
    return numbers | {name: decoded(array) for name, array in tensors.items()}


def decoded(array: Any) -> Any:
    """BYTES become the text that onnxruntime's string tensors hold."""
    if array.dtype != object:
        return array
    return np.array([text.decode() for text in array.ravel()], object).reshape(array.shape)


def joined(feeds: list[Arrays]) -> Arrays:
    if len(feeds) == 1:
        return feeds[0]
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def split(results: Arrays, feeds: list[Arrays]) -> list[Arrays]:
    sizes = [len(next(iter(feed.values()))) for feed in feeds]
    ends = np.cumsum(sizes)
    if any(len(array) != ends[-1] for array in results.values()):
        raise ValueError("an output does not have the batch size of the inputs")
    pieces = {name: np.split(array, ends[:-1]) for name, array in results.items()}
    return [{name: pieces[name][index] for name in pieces} for index in range(len(feeds))]


def failure(error: Exception) -> Any:
    """The error for the client: what onnxruntime says, without paths or source positions."""
    blame = (UnicodeDecodeError, ort.capi.onnxruntime_pybind11_state.InvalidArgument)
    code = triton.TritonError.INVALID_ARG if isinstance(error, blame) else triton.TritonError.INTERNAL
    text = re.sub(r"\S*/\S+", "", str(error).partition("\n")[0])
    return triton.TritonError(f"the model could not compute this request: {text[:MESSAGE_LIMIT]}", code)
