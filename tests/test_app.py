"""What the launcher and the configuration promise."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser

from vgg_demo.ui.batch.run import MAX_BYTES

ROOT = Path(__file__).parents[1]


def test_the_servers_limit_is_that_of_a_batch() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["server"]["maxUploadSize"] * 2**20 == MAX_BYTES


def test_uploads_of_the_largest_size_stay_in_memory() -> None:
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
    # In a thread of its own: Playwright keeps an event loop running in this one.
    with ThreadPoolExecutor(1) as executor:
        form = executor.submit(asyncio.run, MultiPartParser(headers, chunks()).parse()).result()
    upload = form["f"]
    assert upload.size == MAX_BYTES
    assert not upload.file._rolled
