"""PNG: W3C PNG, 3rd edition, section 5 (chunks)."""

from __future__ import annotations

import struct
import zlib

from vgg_demo.images.containers.stripped import StrippedImage, check_blocks
from vgg_demo.images.orientation import exif_orientation, xmp_orientation

_REQUIRED = (b"IHDR", b"PLTE", b"tRNS")


def strip_png(data: bytes) -> StrippedImage:
    """Strips a PNG; see `containers.strip_metadata`."""
    required: dict[bytes, bytes] = {}
    pixels = []
    exif = xmp = None
    position, chunks_read = 8, 0
    while position + 8 <= len(data):
        chunks_read += 1
        check_blocks(chunks_read)
        length, chunk_type = struct.unpack_from(">I4s", data, position)
        body = slice(position + 8, position + 8 + length)
        if chunk_type == b"IDAT":
            pixels.append(data[body])
        elif chunk_type in _REQUIRED:
            required.setdefault(chunk_type, data[position : body.stop + 4])
        elif chunk_type == b"eXIf":
            exif = exif or exif_orientation(data[body])
        elif chunk_type == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0", body.start):
            xmp = xmp or xmp_orientation(data[body])
        elif chunk_type == b"IEND":
            break
        position = body.stop + 4
    # A single IDAT, because Pillow iterates over them in Python and each may hold a single byte.
    chunks = [*required.values(), _chunk(b"IDAT", b"".join(pixels)), _chunk(b"IEND", b"")]
    return StrippedImage(data[:8] + b"".join(chunks), exif or xmp or 1)


def _chunk(chunk_type: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(chunk_type + body)
    return struct.pack(">I", len(body)) + chunk_type + body + struct.pack(">I", checksum)
