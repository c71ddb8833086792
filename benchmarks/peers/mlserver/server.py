"""MLServer with adaptive batching: Open Inference Protocol as JSON, requests that meet are one run of onnxruntime."""

import asyncio
import os
from uuid import uuid4

import onnxruntime
import uvloop
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Digits(MLModel):
    """Takes the tensor x of 64 numbers a row, gives logits of 10."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (logits,) = self.session.run(None, {"x": NumpyCodec.decode_input(payload.inputs[0])})
        output = NumpyCodec.encode_output("logits", logits)
        return InferenceResponse(id=payload.id or str(uuid4()), model_name=self.name, outputs=[output])


async def main() -> None:
    settings = Settings(
        host="127.0.0.1",
        http_port=int(os.environ["BENCH_PORT"]),
        grpc_port=int(os.environ["BENCH_SECOND_PORT"]),
        metrics_endpoint=None,
        parallel_workers=0,
        debug=False,
    )
    model = ModelSettings(name="digits", implementation=Digits, max_batch_size=64, max_batch_time=0.0001)
    await MLServer(settings).start([model])


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main())
