"""A second inference process with a Triton of its own, beside those of a running stack."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deploy.embedded.launch import Launch
from deploy.embedded.parts import Plan, service_launch
from deploy.embedded.ports import LOOPBACK, free_port
from deploy.embedded.probes import answers
from deploy.embedded.testing_servers import Server, TritonServer, started, triton_server

NODE = "second"


class InferenceNode(Server):
    """Another process of the service inference, on the bus and the database of a stack."""

    def __init__(self, folder: Path, plan: Plan, triton: TritonServer) -> None:
        super().__init__(folder)
        self.triton = triton
        self.ops_port = free_port()
        settings = {"inference": {**plan.settings.get("inference", {}), **self._settings()}}
        self._plan = replace(plan, settings=settings)

    def _settings(self) -> dict[str, str]:
        name, key = self.triton.access_header
        return {
            "NODE": NODE,
            "OPS_PORT": str(self.ops_port),
            "HOME_DIR": str(self.folder),
            "TRACE_FILE": str(self.folder / "traces.jsonl"),
            "TRITON_URL": self.triton.http,
            "TRITON_GRPC": self.triton.grpc,
            "TRITON_REPOSITORY": str(self.triton.repository),
            "TRITON_ACCESS_HEADER_NAME": name,
            "TRITON_ACCESS_HEADER_VALUE": key,
        }

    def launch(self) -> Launch:
        return service_launch(self._plan, "inference")

    def is_ready(self) -> bool:
        return answers(f"http://{LOOPBACK}:{self.ops_port}/readyz")


@contextmanager
def second_node(folder: Path, plan: Plan) -> Iterator[InferenceNode]:
    """Ready, and ended with the block; it dies with the thread that starts it, so that is the main thread."""
    with triton_server(folder / "triton") as triton:
        node = InferenceNode(folder / "inference", plan, triton)
        with started(node):
            yield node
