"""JPEG: ITU-T T.81, annex B (markers)."""

from __future__ import annotations

import re

from vgg_demo.errors import ImageTooLargeError
from vgg_demo.images.containers.stripped import StrippedImage
from vgg_demo.images.orientation import exif_orientation, xmp_orientation

MAX_SCANS = 25
"""Scans that an image of any size may have; encoders write 1 to about 15 …"""
MAX_SCAN_PIXELS = MAX_SCANS * 50_000_000
"""… and a smaller image may have more. Each scan, even one of a few bytes, makes libjpeg process
the whole image, which takes 0.1 s for 50 megapixels."""
MAX_SEGMENTS = 10_000
"""Maximum number of segments; each costs an iteration in Python. Photos have a few dozen; a color
profile and XMP that fill 20 MB, in segments of 64 kB, have a few hundred."""

_SEGMENT = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
"""A marker with a meaning: in entropy-coded data, FF is followed by 00 or a restart marker, D0 to
D7 (T.81, B.1.1.5)."""
_EOI, _SOS, _EXIF = 0xD9, 0xDA, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_REQUIRED = _FRAMES | {0xC4, 0xCC, _SOS, 0xDB, 0xDD, 0xE0, 0xEE}
"""Segments that decoding requires: frames, entropy and quantization tables, restart interval,
scans; JFIF and Adobe, which define the color space (T.81, table B.1)."""


def strip_jpeg(data: bytes) -> StrippedImage:
    """Strips a JPEG; see `containers.strip_metadata`."""
    parts = [b"\xff\xd8"]
    exif = xmp = None
    segments = scans = pixels = 0
    match = _SEGMENT.search(data, 2)
    while match:
        marker, start = match[1][0], match.start()
        segments += 1
        if segments > MAX_SEGMENTS:
            raise ImageTooLargeError(
                f"The JPEG has more than {MAX_SEGMENTS:,} segments, which is the limit; photos "
                "have a few dozen. Open it in an image editor and save it again, then try again."
            )
        if marker == _EOI:
            parts.append(b"\xff\xd9")
            break
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        match = _SEGMENT.search(data, end)
        if marker == _SOS:
            scans += 1
            end = match.start() if match else len(data)
        if marker in _FRAMES:  # followed by length, bit depth, height and width
            height, width = data[start + 5 : start + 7], data[start + 7 : start + 9]
            pixels = max(pixels, int.from_bytes(height) * int.from_bytes(width))
        if marker in _REQUIRED:
            parts.append(data[start:end])
        elif marker == _EXIF:
            body = data[start + 4 : end]
            if body.startswith(b"Exif\0\0"):
                exif = exif or exif_orientation(body)
            elif body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                xmp = xmp or xmp_orientation(body)
    max_scans = max(MAX_SCANS, MAX_SCAN_PIXELS // max(1, pixels))
    if scans > max_scans:
        raise ImageTooLargeError(
            f"The JPEG consists of {scans:,} scans; the limit is {max_scans:,} for this number of "
            "pixels. Open it in an image editor and save it again, then try again."
        )
    return StrippedImage(b"".join(parts), exif or xmp or 1)
