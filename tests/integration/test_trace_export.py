"""Spans reach a collector over OTLP where the setting names one, and a service lives on where there is none."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from deploy.embedded.ports import free_port
from tests.unit.task_process import ROOT

PROCESS = """
import sys
from opentelemetry.trace import SpanKind
from shared import observe
from shared.settings import ServiceSettings

observe.set_up("registry", ServiceSettings(trace_ratio=1, trace_endpoint=sys.argv[1] if len(sys.argv) > 1 else None))
with observe.span("outer", SpanKind.SERVER), observe.span("inner", SpanKind.CLIENT, verb="get_model"):
    pass
print("requests" in sys.modules)
"""


class Collector(BaseHTTPRequestHandler):
    """Takes what is posted, as a collector does."""

    received: Queue[tuple[str, str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.put((self.path, self.headers["Content-Type"], body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, *_: object) -> None:
        """Tests are quiet."""


@contextmanager
def collector() -> Iterator[tuple[str, Queue[tuple[str, str, bytes]]]]:
    Collector.received = Queue()
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", Collector.received
        server.shutdown()


def make_spans(*endpoint: str) -> str:
    command = [sys.executable, "-c", PROCESS, *endpoint]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def test_spans_reach_the_collector() -> None:
    with collector() as (endpoint, received):
        make_spans(endpoint)
        path, content_type, body = received.get(timeout=30)
    assert (path, content_type) == ("/v1/traces", "application/x-protobuf")
    found = ExportTraceServiceRequest.FromString(body).resource_spans[0]
    names = {attribute.key: attribute.value.string_value for attribute in found.resource.attributes}
    assert names["service.name"] == "registry"
    inner, outer = sorted(found.scope_spans[0].spans, key=lambda span: span.name)
    assert (inner.name, outer.name) == ("inner", "outer")
    assert inner.trace_id == outer.trace_id
    assert inner.parent_span_id == outer.span_id
    assert [(a.key, a.value.string_value) for a in inner.attributes] == [("verb", "get_model")]


def test_a_process_ends_well_without_its_collector() -> None:
    assert make_spans(f"http://127.0.0.1:{free_port()}/v1/traces") == "True"


def test_no_exporter_is_loaded_that_nobody_wants() -> None:
    assert make_spans() == "False"
