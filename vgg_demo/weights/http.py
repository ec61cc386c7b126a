"""One file from a web server, watched while it arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import requests
import urllib3

READ_BYTES = 1 << 16
MIN_BYTES_PER_SECOND = 10_000
"""Anything slower counts as standing still: VGG16 would take fifteen hours and more."""

TRANSFER_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)
"""What goes wrong on the way; `explain_failure` puts it into words."""

STOOD_STILL = f"it stood still, or came at less than {MIN_BYTES_PER_SECOND // 1000} kB/s"
REASONS = (  # the first that fits
    (requests.TooManyRedirects, "the server sends us round in circles"),
    (requests.exceptions.SSLError, "the server's certificate is not trusted here"),
    (requests.ReadTimeout, STOOD_STILL),
    (requests.ConnectionError, "no connection to the server"),
    (urllib3.exceptions.ReadTimeoutError, STOOD_STILL),
    (urllib3.exceptions.HTTPError, "the connection was cut off"),
)


def open_url(url: str, answer_seconds: float, stall_seconds: float) -> requests.Response:
    """Asks a server for a file and returns as soon as it begins to answer.

    The time limits of `requests` hold for each address of a host and for each read, and
    not for the name look-up; without a network that can add up to minutes. So the asking
    is done by a thread, and it is the waiting that ends.

    Args:
        url: What to ask for.
        answer_seconds: How long the server may take in all until its header is here.
        stall_seconds: How long any later read may wait.

    Raises:
        requests.RequestException: If there is no good answer.
    """
    answers: list[requests.Response | Exception] = []
    given_up = threading.Event()

    def ask() -> None:
        try:
            response = requests.get(
                url,
                stream=True,
                headers={"Accept-Encoding": "identity"},  # so that the size is the file's own
                timeout=(2 * answer_seconds, max(stall_seconds, 2 * answer_seconds)),
            )
        except (*TRANSFER_ERRORS, ValueError) as error:  # ValueError: an address that is none
            answers.append(error)
            return
        answers.append(response)
        if given_up.is_set():
            response.close()

    thread = threading.Thread(target=ask, name="weights-answer", daemon=True)
    thread.start()
    thread.join(answer_seconds)
    if not answers:
        given_up.set()
        raise requests.ConnectTimeout(f"no answer within {answer_seconds:g} seconds")
    answer = answers[0]
    if isinstance(answer, Exception):
        raise answer
    if not answer.ok:
        answer.close()
    answer.raise_for_status()
    return answer


def announced_bytes(response: requests.Response) -> int:
    """Returns the size that the server announces; 0 if it does not say."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdecimal() else 0


def read_pieces(response: requests.Response, stall_seconds: float) -> Iterator[bytes]:
    """Yields the bytes of an answer as they arrive, in pieces of at most `READ_BYTES`.

    Raises:
        requests.ReadTimeout: If over `stall_seconds` the bytes come more slowly than
            `MIN_BYTES_PER_SECOND`. The time limits of `requests` are no help: one byte a
            second satisfies them for ever.
        urllib3.exceptions.HTTPError: If the connection breaks or nothing comes at all.
    """
    started, count = time.monotonic(), 0
    while piece := response.raw.read1(READ_BYTES, decode_content=True):
        yield piece
        count += len(piece)
        seconds = time.monotonic() - started
        if seconds >= stall_seconds:
            if count < MIN_BYTES_PER_SECOND * seconds:
                raise requests.ReadTimeout(f"{count} bytes in {seconds:.0f} seconds")
            started, count = time.monotonic(), 0


def explain_failure(error: Exception) -> str:
    """Says in a few words why a transfer failed."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.ConnectTimeout):
        return str(error)
    return next((words for kind, words in REASONS if isinstance(error, kind)), repr(error))
