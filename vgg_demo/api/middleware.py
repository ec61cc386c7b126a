"""Middleware that checks requests before they are parsed: API key, size and time limits."""

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

PUBLIC_PATHS = ("/healthz", "/readyz", "/docs", "/openapi.json")
PUBLIC_FOLDER = "/static-offline-docs/"
"""Health checks and documentation require no API key."""


def problem(status: int, error: str, message: str, **more: object) -> Response:
    """Returns an error response; see `vgg_demo.api.schemas.Problem`.

    Args:
        status: HTTP status code.
        error: Name of the error.
        message: What went wrong and what to do next.
        more: Additional fields of the JSON object.
    """
    return JSONResponse({"error": error, "message": message, **more}, status)


def retry_after(response: Response, seconds: float) -> Response:
    """Sets Retry-After on a response, in whole seconds, at least 1."""
    response.headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return response


class RequireKey:
    """Middleware that rejects requests without the API key before their bodies are read."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._expected = f"Bearer {settings.key}".encode()
        self._is_open = not settings.key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_open or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        response = problem(
            401,
            "Unauthorized",
            "This server requires an API key. Send it in the header “Authorization: Bearer KEY”.",
        )
        response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        received = Headers(scope=scope).get("authorization", "").encode("latin-1")
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        is_public = path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDER)
        return is_public or hmac.compare_digest(received, self._expected)


class LimitBodies:
    """Middleware that limits the size and the duration of request bodies.

    It counts bytes as they arrive and rejects requests that are too large or too slow, or that
    exceed the memory for all requests together.

    Attributes:
        settings: The limits.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self.settings = settings
        self._held_bytes = 0  # of all bodies; changed by the event loop's thread only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self.settings.max_body_bytes:
            await _too_large(self.settings)(scope, receive, send)
            return
        body = _Body(receive, send, self)
        try:
            await self._app(scope, body.receive, body.send)
        except ClientDisconnect:  # raised by the application if `receive` rejects the body
            if body.rejection is None or body.has_response:
                raise
        finally:
            self.release(body)
        if body.rejection is not None and not body.has_response:
            body.rejection.headers["Connection"] = "close"
            await body.rejection(scope, receive, send)

    def release(self, body: _Body) -> None:
        """Subtracts the bytes of a body from the total."""
        self._held_bytes -= body.size_bytes
        body.size_bytes = 0

    def count(self, arrived_bytes: int, body_bytes: int) -> Response | None:
        """Counts bytes that have arrived.

        Args:
            arrived_bytes: Size of the chunk that has just arrived.
            body_bytes: Size of its request body so far.

        Returns:
            The error response if a limit is exceeded, else None.
        """
        self._held_bytes += arrived_bytes
        if body_bytes > self.settings.max_body_bytes:
            return _too_large(self.settings)
        if self._held_bytes > self.settings.max_total_body_bytes:
            return _too_busy()
        return None


class _Body:
    """A request body that is counted while the application reads it.

    Attributes:
        size_bytes: Bytes that have arrived and are in memory.
        rejection: Error response if the body is rejected. It replaces the application's own
            response to the interrupted body.
        has_response: Whether the application started its response before the rejection.
        has_stalled_client: Whether the client has stopped receiving the response.
    """

    def __init__(self, receive: Receive, send: Send, limits: LimitBodies) -> None:
        self._receive = receive
        self._send = send
        self._limits = limits
        self._deadline = time.monotonic() + limits.settings.body_timeout_seconds
        self._is_complete = False
        self.size_bytes = 0
        self.rejection: Response | None = None
        self.has_response = False
        self.has_stalled_client = False

    async def receive(self) -> Message:
        if self._is_complete:  # the next message announces that the client has disconnected
            return await self._receive()
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            self.rejection = _too_slow(self._limits.settings)
            return {"type": "http.disconnect"}
        self._is_complete = not message.get("more_body", False)
        arrived = len(message.get("body", b""))
        self.size_bytes += arrived
        self.rejection = self._limits.count(arrived, self.size_bytes)
        return {"type": "http.disconnect"} if self.rejection is not None else message

    async def send(self, message: Message) -> None:
        if self.has_stalled_client or (self.rejection is not None and not self.has_response):
            return
        self.has_response = True
        try:
            # Without a timeout, a client that does not read would keep the photos in memory.
            async with asyncio.timeout(self._limits.settings.send_timeout_seconds):
                await self._send(message)
        except TimeoutError:
            # The server closes the connection, because the response stays incomplete.
            self.has_stalled_client = True


def _too_large(settings: ApiSettings) -> Response:
    return problem(
        413,
        "ContentTooLarge",
        f"The request is larger than the limit of {settings.max_body_bytes / 2**20:.0f} MB. "
        "Send fewer or smaller photos per request.",
    )


def _too_slow(settings: ApiSettings) -> Response:
    return problem(
        408,
        "RequestTimeout",
        f"The photos did not arrive within {settings.body_timeout_seconds:.0f} seconds. "
        "Send fewer or smaller photos per request.",
    )


def _too_busy() -> Response:
    return retry_after(
        problem(
            429, "BusyError", "The server is receiving too many photos right now. Try again later."
        ),
        seconds=1,
    )
