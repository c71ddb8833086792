"""Ray Serve with serve.batch: rows of bytes that meet are one run of onnxruntime."""

import os
import signal

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

Rows = np.ndarray
QUIET = {"enable_access_log": False, "log_level": "WARNING"}


@serve.deployment(num_replicas=1, max_ongoing_requests=1024, logging_config=QUIET)
class Digits:
    """Takes 64 FP32 numbers as bytes, gives 10."""

    def __init__(self, model: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0)
    async def predict(self, rows: list[Rows]) -> list[Rows]:
        return list(self.session.run(None, {"x": np.stack(rows)})[0])

    async def __call__(self, request: Request) -> Response:
        logits = await self.predict(np.frombuffer(await request.body(), np.float32))
        return Response(logits.tobytes(), media_type="application/octet-stream")


def main() -> None:
    ray.init(include_dashboard=False, logging_level="ERROR", _temp_dir=os.environ["TMPDIR"])
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
    serve.run(Digits.bind(os.environ["BENCH_MODEL"]))
    signal.pause()


if __name__ == "__main__":
    main()
