"""A local server for weight files that simulates every type of failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LOGIN_PAGE = b"<!DOCTYPE html><title>Welcome to Hotel Fawlty</title>"


class Server(ThreadingHTTPServer):
    """Serves a file, behaves as the requested path selects, and counts the responses.

    Successful downloads: ``/whole``; ``/chunked`` and ``/unsized``, both without a
    Content-Length; ``/slow``, which stops in the middle until `resume` is set.

    Failing downloads: ``/wrong`` content; ``/truncated`` with the full Content-Length and
    ``/short`` without one; ``/missing`` (404); ``/huge`` according to its Content-Length;
    ``/endless``; a ``/login`` page; a redirect ``/loop``; ``/trickle``, byte by byte;
    ``/stalls`` in the middle; and ``/silent``, without a response. The last three continue until
    `resume` is set.

    Attributes:
        bodies_sent: Number of responses with status 200.
        half_sent: Set when ``/slow`` or ``/stalls`` has sent half of the file.
        resume: Set it to end all waiting.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.bodies_sent = 0
        self.half_sent = threading.Event()
        self.resume = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        respond: Callable[[], None] = getattr(self, "respond_" + self.path[1:])
        with suppress(ConnectionError):  # the client may close the connection early
            respond()

    def respond_whole(self) -> None:
        self._send_headers()
        self.wfile.write(self.server.content)

    def respond_unsized(self) -> None:
        self._send_headers(size=None)
        self.wfile.write(self.server.content)

    def respond_chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.close_connection = True
        self._send_headers(size=None, headers={"Transfer-Encoding": "chunked"})
        for start in range(0, len(self.server.content), 100_000):
            chunk = self.server.content[start : start + 100_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def respond_slow(self) -> None:
        self._send_half_and_wait()
        self.wfile.write(self.server.content[len(self.server.content) // 2 :])

    def respond_stalls(self) -> None:
        self._send_half_and_wait()

    def respond_wrong(self) -> None:
        self._send_headers()
        self.wfile.write(SIGNATURE + self.server.content[: len(SIGNATURE) - 1 : -1])

    def respond_truncated(self) -> None:
        self._send_headers()
        self.wfile.write(self.server.content[: len(self.server.content) // 2])

    def respond_short(self) -> None:
        self._send_headers(size=None)
        self.wfile.write(self.server.content[: len(self.server.content) // 2])

    def respond_huge(self) -> None:
        self._send_headers(size=10**15)

    def respond_endless(self) -> None:
        self._send_headers(size=None)
        self.wfile.write(SIGNATURE)
        while not self.server.resume.is_set():
            self.wfile.write(bytes(1 << 16))

    def respond_login(self) -> None:
        self._send_headers(size=len(LOGIN_PAGE))
        self.wfile.write(LOGIN_PAGE)

    def respond_trickle(self) -> None:
        self._send_headers()
        for byte in self.server.content:
            self.wfile.write(bytes([byte]))
            if self.server.resume.wait(0.02):
                return

    def respond_silent(self) -> None:
        self.server.resume.wait()

    def respond_missing(self) -> None:
        self.send_error(404)

    def respond_loop(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/loop")
        self.end_headers()

    def _send_half_and_wait(self) -> None:
        self._send_headers()
        self.wfile.write(self.server.content[: len(self.server.content) // 2])
        self.server.half_sent.set()
        self.server.resume.wait()

    def _send_headers(self, size: int | None = -1, headers: dict[str, str] | None = None) -> None:
        self.server.bodies_sent += 1
        self.send_response(200)
        if size is not None:
            self.send_header("Content-Length", str(size if size >= 0 else len(self.server.content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """Runs a server for the duration of a ``with`` block."""
    with Server(content) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.resume.set()
            server.shutdown()
