"""LitServe with batching: rows of JSON that meet are one run of onnxruntime."""

import os

import litserve
import numpy as np
import onnxruntime

Rows = np.ndarray


class Digits(litserve.LitAPI):
    """Takes {"x": 64 numbers}, gives {"logits": 10 numbers}."""

    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)

    def decode_request(self, request: dict[str, list[float]]) -> Rows:
        return np.array(request["x"], np.float32)

    def batch(self, inputs: list[Rows]) -> Rows:
        return np.stack(inputs)

    def predict(self, x: Rows) -> Rows:
        return self.session.run(None, {"x": x})[0]

    def unbatch(self, output: Rows) -> list[Rows]:
        return list(output)

    def encode_response(self, output: Rows) -> dict[str, list[float]]:
        return {"logits": output.tolist()}


if __name__ == "__main__":
    api = Digits(max_batch_size=64, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", fast_queue=True)
    port = int(os.environ["BENCH_PORT"])
    server.run(host="127.0.0.1", port=port, log_level="error", generate_client_file=False)
