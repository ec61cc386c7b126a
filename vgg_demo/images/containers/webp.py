"""WebP: RFC 9649, section 2 (RIFF chunks)."""

from __future__ import annotations

import struct

from vgg_demo.images.containers.stripped import StrippedImage, check_blocks
from vgg_demo.images.orientation import exif_orientation, xmp_orientation

_WEBP_KEPT = (b"VP8X", b"ANIM", b"ALPH")
_WEBP_PICTURES = (b"VP8 ", b"VP8L", b"ANMF")
_WEBP_LUGGAGE = 0x20 | 0x08 | 0x04  # VP8X flags of a colour profile, EXIF and XMP


def strip_webp(data: bytes) -> StrippedImage:
    """Copies what the first picture of a WebP needs; see `containers.unpack`."""
    parts: list[bytes] = []
    exif = xmp = None
    has_picture = False
    position, chunks = 12, 0
    while position + 8 <= len(data):
        chunks += 1
        check_blocks(chunks)
        kind, length = struct.unpack_from("<4sI", data, position)
        body = slice(position + 8, position + 8 + length)
        end = body.stop + length % 2
        if kind in _WEBP_PICTURES and not has_picture:
            has_picture = True
            parts.append(data[position:end])
        elif kind in _WEBP_KEPT and not has_picture:
            parts.append(data[position:end])
        elif kind == b"EXIF":
            exif = exif or exif_orientation(data[body])
        elif kind == b"XMP ":
            xmp = xmp or xmp_orientation(data[body])
        position = end
    if parts and parts[0].startswith(b"VP8X") and len(parts[0]) > 8:
        flags = parts[0][8] & ~_WEBP_LUGGAGE
        parts[0] = parts[0][:8] + bytes([flags]) + parts[0][9:]
    riff = b"WEBP" + b"".join(parts)
    return StrippedImage(b"RIFF" + struct.pack("<I", len(riff)) + riff, exif or xmp or 1)
