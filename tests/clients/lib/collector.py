"""A collector of traces: a server that takes OTLP over HTTP and reads it with the official protobuf classes."""

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Collector:
    """The server; a context manager. What it answers can be changed while it runs. With a certificate and key it speaks TLS."""

    def __init__(self, certificate=None):
        self.requests = []
        self.raw = bytearray()
        self.status = 200
        self.headers = {}
        self.rejects = 0
        self.token = None
        self.pause_s = 0.0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            """Answers, and notes what came."""

            protocol_version = "HTTP/1.1"

            def do_POST(self):
                """An export, whatever its path."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = collector.take(self.path, self.headers, body)
                time.sleep(collector.pause_s)
                self.send_response(status)
                for name, value in collector.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                """Prints nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # A connection may break while a case ends.
        self._server.handle_error = lambda *_: None
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1/traces"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{self.port}/v1/traces"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def take(self, path, headers, body):
        """The status and the answer for an export, which counts unless it is refused."""
        export = ExportTraceServiceRequest.FromString(body)
        self.raw += body
        status = 401 if self.token and headers["Authorization"] != self.token else self.status
        self.requests.append((status, path, dict(headers), export))
        answer = ExportTraceServiceResponse()
        if self.rejects:
            answer.partial_success.rejected_spans = self.rejects
            answer.partial_success.error_message = "too old"
        return status, answer.SerializeToString()

    def spans(self, name=None):
        """The spans of the exports that were taken, those of one name."""
        return [
            span
            for status, _, _, export in self.requests
            if status == 200
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if name in (None, span.name)
        ]

    def resources(self):
        """What is told of the process, export by export."""
        return [values(part.resource) for _, _, _, export in self.requests for part in export.resource_spans]


def values(of):
    """The attributes of a span or a resource."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}
