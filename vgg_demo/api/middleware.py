"""What a request must get past before anything of it is parsed."""

from __future__ import annotations

import asyncio
import hmac
import math
import time

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vgg_demo.api.settings import ApiSettings

OPEN_PATHS = ("/healthz", "/readyz", "/docs", "/openapi.json")
OPEN_FOLDER = "/static-offline-docs/"
"""What needs no key: whether the server lives, and how it is to be asked."""


def problem(status: int, error: str, message: str, **more: object) -> Response:
    """Returns an answer that says what went wrong and what to do."""
    return JSONResponse({"error": error, "message": message, **more}, status)


def retry_after(response: Response, seconds: float) -> Response:
    """Says when to try again, in whole seconds of at least one."""
    response.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return response


class RequireKey:
    """Turns away requests without the key, before their bodies are read."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._expected = f"Bearer {settings.key}".encode()
        self._is_open = not settings.key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_open or self._may_pass(scope):
            await self._app(scope, receive, send)
            return
        response = problem(
            401,
            "Unauthorized",
            "This server wants a key: send it as the header “Authorization: Bearer KEY”.",
        )
        response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "").encode("latin-1")
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        is_open = path in OPEN_PATHS or path.startswith(OPEN_FOLDER)
        return is_open or hmac.compare_digest(given, self._expected)


class LimitBodies:
    """Counts bodies as they arrive, and turns away what is too large, too slow or too much."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self.settings = settings
        self._held_bytes = 0  # of all bodies; only the event loop's thread counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self.settings.body_bytes:
            await _too_large(self.settings)(scope, receive, send)
            return
        body = _Body(receive, send, self)
        try:
            await self._app(scope, body.receive, body.send)
        except ClientDisconnect:  # as it takes a body that is not read on
            if body.refusal is None or body.is_answered:
                raise
        finally:
            self.release(body)
        if body.refusal is not None and not body.is_answered:
            body.refusal.headers["Connection"] = "close"
            await body.refusal(scope, receive, send)

    def release(self, body: _Body) -> None:
        """Counts a body no longer."""
        self._held_bytes -= body.size_bytes
        body.size_bytes = 0

    def count(self, arrived_bytes: int, body_bytes: int) -> Response | None:
        """Counts what has just arrived of a body; says why there is to be no more, if so."""
        self._held_bytes += arrived_bytes
        if body_bytes > self.settings.body_bytes:
            return _too_large(self.settings)
        if self._held_bytes > self.settings.bodies_bytes:
            return _too_much()
        return None


class _Body:
    """A request whose body is counted while the application reads it.

    Attributes:
        size_bytes: What has arrived and is held.
        refusal: Why no more is read; what the application makes of a body that breaks off is
            not what is answered.
        is_answered: Whether the application has begun to answer before that.
        is_deaf: Whether the client takes no answer.
    """

    def __init__(self, receive: Receive, send: Send, limits: LimitBodies) -> None:
        self._receive = receive
        self._send = send
        self._limits = limits
        self._deadline = time.monotonic() + limits.settings.body_seconds
        self._is_whole = False
        self.size_bytes = 0
        self.refusal: Response | None = None
        self.is_answered = False
        self.is_deaf = False

    async def receive(self) -> Message:
        if self._is_whole:  # what comes now is that the client has gone
            return await self._receive()
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            self.refusal = _too_slow(self._limits.settings)
            return {"type": "http.disconnect"}
        self._is_whole = not message.get("more_body", False)
        arrived = len(message.get("body", b""))
        self.size_bytes += arrived
        self.refusal = self._limits.count(arrived, self.size_bytes)
        return {"type": "http.disconnect"} if self.refusal is not None else message

    async def send(self, message: Message) -> None:
        if self.is_deaf or (self.refusal is not None and not self.is_answered):
            return
        self.is_answered = True
        try:
            # Who does not read keeps the server waiting, with the photos in its hands.
            async with asyncio.timeout(self._limits.settings.answer_seconds):
                await self._send(message)
        except TimeoutError:
            self.is_deaf = True  # the server closes the connection, since the answer has no end


def _too_large(settings: ApiSettings) -> Response:
    return problem(
        413,
        "ContentTooLarge",
        f"The request is larger than {settings.body_bytes / 2**20:.0f} MB, which is the limit. "
        "Send fewer or smaller photos at a time.",
    )


def _too_slow(settings: ApiSettings) -> Response:
    return problem(
        408,
        "RequestTimeout",
        f"The photos did not arrive within {settings.body_seconds:.0f} seconds. "
        "Send fewer or smaller ones at a time.",
    )


def _too_much() -> Response:
    return retry_after(
        problem(
            429, "BusyError", "Too many photos are being received at this moment. Try again later."
        ),
        seconds=1,
    )
