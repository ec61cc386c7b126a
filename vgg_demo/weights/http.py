"""Downloads a single file over HTTP, with timeouts for slow and stalled connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import requests
import urllib3

CHUNK_BYTES = 1 << 16
MIN_BYTES_PER_SECOND = 10_000
"""Slower downloads count as stalled: VGG16 would take more than fifteen hours."""

TRANSFER_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)
"""Exceptions of a failed transfer; `describe_failure` turns them into text."""

STALLED = f"it stalled, or was slower than {MIN_BYTES_PER_SECOND // 1000} kB/s"
REASONS = (  # the first match counts
    (requests.TooManyRedirects, "too many redirects"),
    (requests.exceptions.SSLError, "the certificate of the server is not trusted"),
    (requests.ReadTimeout, STALLED),
    (requests.ConnectionError, "no connection to the server"),
    (urllib3.exceptions.ReadTimeoutError, STALLED),
    (urllib3.exceptions.HTTPError, "the connection was interrupted"),
)


def open_response(
    url: str, response_timeout_seconds: float, stall_timeout_seconds: float
) -> requests.Response:
    """Sends a GET request and returns the response as soon as its headers have arrived.

    The timeouts of `requests` apply to each address of a host and to each read, but not to name
    resolution. Without a network, this can add up to minutes. Therefore, a thread sends the
    request, and this function stops waiting for it after the timeout.

    Args:
        url: URL of the file.
        response_timeout_seconds: Maximum time until the response headers have arrived.
        stall_timeout_seconds: Timeout of each read of the body.

    Raises:
        requests.RequestException: If there is no response, or its status is an error.
    """
    results: list[requests.Response | Exception] = []
    is_timed_out = threading.Event()

    def send_request() -> None:
        try:
            response = requests.get(
                url,
                stream=True,
                headers={"Accept-Encoding": "identity"},  # for the Content-Length of the file
                timeout=(
                    2 * response_timeout_seconds,
                    max(stall_timeout_seconds, 2 * response_timeout_seconds),
                ),
            )
        except (*TRANSFER_ERRORS, ValueError) as error:  # ValueError: an invalid URL
            results.append(error)
            return
        results.append(response)
        if is_timed_out.is_set():
            response.close()

    thread = threading.Thread(target=send_request, name="weights-request", daemon=True)
    thread.start()
    thread.join(response_timeout_seconds)
    if not results:
        is_timed_out.set()
        raise requests.ConnectTimeout(f"no response within {response_timeout_seconds:g} seconds")
    result = results[0]
    if isinstance(result, Exception):
        raise result
    if not result.ok:
        result.close()
    result.raise_for_status()
    return result


def content_length(response: requests.Response) -> int:
    """Returns the Content-Length of a response in bytes; 0 if the header is missing."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdecimal() else 0


def iter_chunks(response: requests.Response, stall_timeout_seconds: float) -> Iterator[bytes]:
    """Yields the body of a response in chunks of at most `CHUNK_BYTES`, as they arrive.

    Raises:
        requests.ReadTimeout: If the transfer is slower than `MIN_BYTES_PER_SECOND` for
            `stall_timeout_seconds`. The timeouts of `requests` do not detect this: one byte per
            second is enough for them.
        urllib3.exceptions.HTTPError: If the connection is interrupted or a read times out.
    """
    started, count = time.monotonic(), 0
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        yield chunk
        count += len(chunk)
        seconds = time.monotonic() - started
        if seconds >= stall_timeout_seconds:
            if count < MIN_BYTES_PER_SECOND * seconds:
                raise requests.ReadTimeout(f"{count} bytes in {seconds:.0f} seconds")
            started, count = time.monotonic(), 0


def describe_failure(error: Exception) -> str:
    """Describes in a few words why a transfer failed."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server responded with {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.ConnectTimeout):
        return str(error)
    return next((text for cls, text in REASONS if isinstance(error, cls)), repr(error))
