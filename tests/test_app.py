"""The server: its two entry points and its configuration."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser

from tests.support.app_server import ROOT, SERVE, running_app
from vgg_demo.ui.batch.run import MAX_BYTES

CONFIG = ROOT / ".streamlit" / "config.toml"
CAT = ROOT / "vgg_demo" / "data" / "examples" / "cat.jpg"

PRINT_OPTIONS = """
import streamlit as st
from starlette.testclient import TestClient

from vgg_demo.app import create_app

with TestClient(create_app()) as client:
    client.get("/_stcore/health").raise_for_status()
    print(st.get_option("server.maxUploadSize"), st.get_option("theme.light.primaryColor"))
"""


def test_upload_limit_of_the_server_equals_the_limit_of_a_batch() -> None:
    config = tomllib.loads(CONFIG.read_text())
    assert config["server"]["maxUploadSize"] * 2**20 == MAX_BYTES


def test_packaged_configuration_equals_the_one_in_the_project() -> None:
    packaged = ROOT / "vgg_demo" / "data" / "streamlit.toml"
    assert packaged.read_bytes() == CONFIG.read_bytes()


def test_theme_and_limits_are_configured_in_any_working_directory(tmp_path: Path) -> None:
    """An ASGI server started elsewhere does not find .streamlit/config.toml."""
    process = subprocess.run(
        [sys.executable, "-c", PRINT_OPTIONS],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "VGG_DEMO_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "200 #1d4e89"


def test_serve_works_in_any_working_directory_and_listens_locally(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running_app(
        tmp_path_factory,
        start=SERVE,
        working_directory=tmp_path_factory.mktemp("empty"),
        PYTHONPATH=str(ROOT),
    ) as url:
        assert "<title>" in requests.get(url, timeout=60).text
        assert classify_cat(url)["results"][0]["predictions"][0]["label"] == "cat"
        assert listening_addresses(urlsplit(url).port) == {"127.0.0.1"}


def test_serve_reports_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = subprocess.run(
            [sys.executable, "-m", "vgg_demo", "serve", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert process.returncode == 1
    assert process.stderr.startswith(f"Error: Port {port} is in use. Stop the other program, or ")


def classify_cat(url: str) -> dict:
    response = requests.post(
        f"{url}/api/v1/classify?model=mini_vgg", files={"file": CAT.read_bytes()}, timeout=60
    )
    return response.json()


def listening_addresses(port: int | None) -> set[str]:
    """Returns the addresses at which child processes listen on a port."""
    connections = [
        connection
        for child in psutil.Process().children(recursive=True)
        for connection in child.net_connections("tcp")
    ]
    return {
        connection.laddr.ip
        for connection in connections
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }


LOG_WHILE_SERVING = """
import logging

import uvicorn

from vgg_demo.cli import main

uvicorn.run = lambda *_, **__: logging.getLogger("vgg_demo.x").warning("Something happened")
main(["serve"])
"""


def test_serve_prints_log_messages() -> None:
    """Other commands silence them."""
    process = subprocess.run(
        [sys.executable, "-c", LOG_WHILE_SERVING],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "Something happened" in process.stderr


def test_serve_is_fast_on_keep_alive_connections(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The sockets of `streamlit run` delay small responses by about 40 ms; uvicorn's do not."""
    with (
        running_app(tmp_path_factory) as streamlit_url,
        running_app(tmp_path_factory, start=SERVE) as serve_url,
    ):
        for url in (streamlit_url, serve_url):
            classify_cat(url)  # loading the model slows other requests, so wait for it
        assert median_seconds(serve_url) < median_seconds(streamlit_url) / 3


def median_seconds(url: str) -> float:
    """Returns the median time of 20 requests on one connection."""
    seconds = []
    with requests.Session() as session:
        for _ in range(20):
            started = time.perf_counter()
            session.get(f"{url}/api/healthz", timeout=60).raise_for_status()
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def test_uploads_of_the_maximum_size_stay_in_memory() -> None:
    import streamlit_app

    assert streamlit_app.app is not None
    body = (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n'
        + bytes(MAX_BYTES)
        + b"\r\n--x--\r\n"
    )

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 2**16):
            yield body[start : start + 2**16]

    headers = Headers({"content-type": "multipart/form-data; boundary=x"})
    # In another thread, because Playwright keeps an event loop running in this one.
    with ThreadPoolExecutor(1) as executor:
        form = executor.submit(asyncio.run, MultiPartParser(headers, chunks()).parse()).result()
    upload = form["f"]
    assert upload.size == MAX_BYTES
    assert not upload.file._rolled
