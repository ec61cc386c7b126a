"""A server for weight files that behaves as badly as it is asked to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LOGIN_PAGE = b"<!DOCTYPE html><title>Welcome to Hotel Fawlty</title>"


class Server(ThreadingHTTPServer):
    """Serves one content in the manner that the path asks for, and counts.

    Good manners are ``/whole``, ``/chunked`` and ``/unannounced``, the latter two without a
    size; ``/slow`` stops half way until `resume` is set. Bad ones are ``/wrong`` bytes,
    ``/cut`` off half way, ``/missing``, ``/huge`` by its header, ``/endless``, ``/login``
    page, ``/loop``, ``/short``, ``/trickle`` byte by byte, ``/stalls`` half way and
    ``/silent`` for good, the latter three until `resume` is set.

    Attributes:
        bodies_sent: Answers begun.
        half_sent: Set when ``/slow`` or ``/stalls`` waits half way.
        resume: Ends all waiting.
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
        answer: Callable[[], None] = getattr(self, "answer_" + self.path[1:])
        with suppress(ConnectionError):  # whoever has seen enough hangs up
            answer()

    def answer_whole(self) -> None:
        self._begin()
        self.wfile.write(self.server.content)

    def answer_unannounced(self) -> None:
        self._begin(size=None)
        self.wfile.write(self.server.content)

    def answer_chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.close_connection = True
        self._begin(size=None, headers={"Transfer-Encoding": "chunked"})
        for start in range(0, len(self.server.content), 100_000):
            chunk = self.server.content[start : start + 100_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def answer_slow(self) -> None:
        self._half()
        self.wfile.write(self.server.content[len(self.server.content) // 2 :])

    def answer_stalls(self) -> None:
        self._half()

    def answer_wrong(self) -> None:
        self._begin()
        self.wfile.write(SIGNATURE + self.server.content[: len(SIGNATURE) - 1 : -1])

    def answer_cut(self) -> None:
        self._begin()
        self.wfile.write(self.server.content[: len(self.server.content) // 2])

    def answer_short(self) -> None:
        self._begin(size=None)
        self.wfile.write(self.server.content[: len(self.server.content) // 2])

    def answer_huge(self) -> None:
        self._begin(size=10**15)

    def answer_endless(self) -> None:
        self._begin(size=None)
        self.wfile.write(SIGNATURE)
        while not self.server.resume.is_set():
            self.wfile.write(bytes(1 << 16))

    def answer_login(self) -> None:
        self._begin(size=len(LOGIN_PAGE))
        self.wfile.write(LOGIN_PAGE)

    def answer_trickle(self) -> None:
        self._begin()
        for byte in self.server.content:
            self.wfile.write(bytes([byte]))
            if self.server.resume.wait(0.02):
                return

    def answer_silent(self) -> None:
        self.server.resume.wait()

    def answer_missing(self) -> None:
        self.send_error(404)

    def answer_loop(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/loop")
        self.end_headers()

    def _half(self) -> None:
        self._begin()
        self.wfile.write(self.server.content[: len(self.server.content) // 2])
        self.server.half_sent.set()
        self.server.resume.wait()

    def _begin(self, size: int | None = -1, headers: dict[str, str] | None = None) -> None:
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
    """Runs a server until the block ends."""
    with Server(content) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.resume.set()
            server.shutdown()
