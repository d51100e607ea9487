"""A stand-in server that answers as the request's path says. It shows how a client takes answers that Tollgate never gives."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn:
    """The server; a context manager. `/status/N` answers with that status, `/body/TEXT` with that body, `/to/P` redirects to /P."""

    def __init__(self):
        self.requests = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            """Answers, and notes what came."""

            protocol_version = "HTTP/1.1"

            def do_GET(self):
                """GET and POST alike."""
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                stand_in.requests.append((self.command, self.path, dict(self.headers), body))
                _, kind, rest = (self.path.split("?")[0] + "//").split("/", 2)
                rest = rest.rstrip("/")
                self.send_response({"status": int, "to": lambda _: 307}.get(kind, lambda _: 200)(rest))
                if kind == "to":
                    self.send_header("Location", f"/{rest}")
                self.send_header("Set-Cookie", "seen=1; Path=/")
                answer = rest.encode() if kind == "body" else b""
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_GET

            def log_message(self, *_):
                """Prints nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
