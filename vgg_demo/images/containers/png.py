"""PNG: W3C PNG, 3rd edition, section 5 (chunks)."""

from __future__ import annotations

import struct
import zlib

from vgg_demo.images.containers.stripped import StrippedImage, check_blocks
from vgg_demo.images.orientation import exif_orientation, xmp_orientation

_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS")


def strip_png(data: bytes) -> StrippedImage:
    """Copies what the first picture of a PNG needs; see `containers.unpack`."""
    kept: dict[bytes, bytes] = {}
    pixels = []
    exif = xmp = None
    position, chunks_read = 8, 0
    while position + 8 <= len(data):
        chunks_read += 1
        check_blocks(chunks_read)
        length, kind = struct.unpack_from(">I4s", data, position)
        body = slice(position + 8, position + 8 + length)
        if kind == b"IDAT":
            pixels.append(data[body])
        elif kind in _PNG_KEPT:
            kept.setdefault(kind, data[position : body.stop + 4])
        elif kind == b"eXIf":
            exif = exif or exif_orientation(data[body])
        elif kind == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0", body.start):
            xmp = xmp or xmp_orientation(data[body])
        elif kind == b"IEND":
            break
        position = body.stop + 4
    # One IDAT, for Pillow takes Python steps for each, and a chunk may hold a single byte.
    chunks = [*kept.values(), _png_chunk(b"IDAT", b"".join(pixels)), _png_chunk(b"IEND", b"")]
    return StrippedImage(data[:8] + b"".join(chunks), exif or xmp or 1)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
