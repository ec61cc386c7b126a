"""WebP: RFC 9649, section 2 (RIFF chunks)."""

from __future__ import annotations

import struct

from vgg_demo.images.containers.stripped import StrippedImage, check_blocks
from vgg_demo.images.orientation import exif_orientation, xmp_orientation

_REQUIRED = (b"VP8X", b"ANIM", b"ALPH")
_IMAGES = (b"VP8 ", b"VP8L", b"ANMF")
_METADATA_FLAGS = 0x20 | 0x08 | 0x04  # VP8X flags of a color profile, EXIF and XMP


def strip_webp(data: bytes) -> StrippedImage:
    """Strips a WebP; see `containers.strip_metadata`."""
    parts: list[bytes] = []
    exif = xmp = None
    has_image = False
    position, chunks = 12, 0
    while position + 8 <= len(data):
        chunks += 1
        check_blocks(chunks)
        chunk_type, length = struct.unpack_from("<4sI", data, position)
        body = slice(position + 8, position + 8 + length)
        end = body.stop + length % 2
        if chunk_type in _IMAGES and not has_image:
            has_image = True
            parts.append(data[position:end])
        elif chunk_type in _REQUIRED and not has_image:
            parts.append(data[position:end])
        elif chunk_type == b"EXIF":
            exif = exif or exif_orientation(data[body])
        elif chunk_type == b"XMP ":
            xmp = xmp or xmp_orientation(data[body])
        position = end
    if parts and parts[0].startswith(b"VP8X") and len(parts[0]) > 8:
        flags = parts[0][8] & ~_METADATA_FLAGS
        parts[0] = parts[0][:8] + bytes([flags]) + parts[0][9:]
    riff = b"WEBP" + b"".join(parts)
    return StrippedImage(b"RIFF" + struct.pack("<I", len(riff)) + riff, exif or xmp or 1)
