"""Fixtures of the page tests: empty caches before and after each test, and invalid photos."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import pytest
import streamlit as st
from PIL import Image


@pytest.fixture(autouse=True)
def _fresh_server() -> Iterator[None]:
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(scope="session")
def bad_photos(photos: dict[str, bytes], encode: Callable[..., bytes]) -> dict[str, bytes]:
    """Invalid and malicious uploads, by file name."""
    return {
        "text.jpg": b"I am text",
        "empty.png": b"",
        "cut.jpg": photos["cat"][:5000],
        "one_pixel.png": encode(Image.new("RGB", (1, 1)), "PNG"),
        "no_pixels.png": png(0, 0, b""),
        "fifty_thousand.png": png(50_000, 50_000, b""),
        "bomb.png": png(7_100, 7_100, bytes(200_000_000)),
        "thirty_megabytes.jpg": photos["cat"] + bytes(30_000_000),
    }


def png(width: int, height: int, pixels: bytes) -> bytes:
    """Returns a PNG whose header has the given size, which may contradict the pixel data."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(pixels, 9))
        + chunk(b"IEND", b"")
    )
