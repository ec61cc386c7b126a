"""A server for weight files that behaves as badly as it is asked to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves one content in the manner that the path asks for, and counts.

    ``/whole``, ``/wrong`` bytes, ``/cut`` off half way, ``/missing``, ``/huge`` by its
    header, ``/silent`` for good; ``/stalls`` and ``/slow`` stop half way until `go_on` is
    set, and only the latter then sends the rest.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.bodies_sent = 0
        self.go_on = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        if not self._head():
            return
        self.server.bodies_sent += 1
        content = self.server.content
        half = len(content) // 2
        match self.path:
            case "/whole":
                self.wfile.write(content)
            case "/wrong":
                self.wfile.write(content[::-1])
            case "/cut":
                self.wfile.write(content[:half])
                self.close_connection = True
            case "/stalls" | "/slow":
                self.wfile.write(content[:half])
                self.wfile.flush()
                self.server.go_on.wait(20)
                if self.path == "/slow":
                    self.wfile.write(content[half:])

    def _head(self) -> bool:
        if self.path == "/silent":
            self.server.go_on.wait(20)
        if self.path == "/missing":
            self.send_error(404)
            return False
        self.send_response(200)
        size = 10**15 if self.path == "/huge" else len(self.server.content)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        return True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """Runs a server until the block ends."""
    with Server(content) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.go_on.set()
        server.shutdown()
