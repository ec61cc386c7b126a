"""Starts the page and the API in a separate process, as a user does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STREAMLIT_RUN = (
    "streamlit", "run", "streamlit_app.py", "--server.headless=true",
    "--server.address=127.0.0.1", "--server.port",
)  # fmt: skip
SERVE = ("vgg_demo", "serve", "--port")


@contextmanager
def running_app(
    folders: pytest.TempPathFactory,
    *,
    start: tuple[str, ...] = STREAMLIT_RUN,
    working_directory: Path = ROOT,
    **variables: str,
) -> Iterator[str]:
    """Runs the app for the duration of a ``with`` block and yields its URL.

    Args:
        folders: Creates the folders for the log and for the Keras cache.
        start: Arguments of ``python -m``; the port is appended.
        working_directory: Working directory of the process.
        variables: Additional environment variables.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folders.mktemp("server") / "log.txt"
    environment = os.environ | {
        "VGG_DEMO_OFFLINE": "1",
        "KERAS_HOME": str(folders.mktemp("keras")),
    }
    environment.pop("VGG_DEMO_WEIGHTS_DIR", None)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *start, str(port)],
            cwd=working_directory,
            env=environment | variables,
            stdout=output,
            stderr=output,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_healthy(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.25)  # the server cannot notify the test
    pytest.fail(f"The server did not start:\n{log.read_text()}")
