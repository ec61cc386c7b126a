"""JPEG: ITU-T T.81, annex B (markers)."""

from __future__ import annotations

import re

from vgg_demo.errors import ImageTooLargeError
from vgg_demo.images.containers.stripped import StrippedImage
from vgg_demo.images.orientation import exif_orientation, xmp_orientation

JPEG_SCANS = 25
"""A picture of any size may have so many; encoders write 1 to about 15 …"""
JPEG_SCAN_PIXELS = JPEG_SCANS * 50_000_000
"""… and a smaller one more: each scan, though it may consist of a few bytes, makes libjpeg
pass over the whole picture, which takes 0.1 s for 50 megapixels."""
JPEG_MARKERS = 10_000
"""Each costs a step of this walk. Photos have some dozens; a profile and XMP that fill
20 MB, in pieces of 64 kB, some hundreds."""

_JPEG_SEGMENT = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
"""A marker that means something here: in entropy-coded data, FF is followed by 00 or a
restart marker, D0 to D7 (T.81, B.1.1.5)."""
_JPEG_EOI, _JPEG_SOS, _JPEG_EXIF = 0xD9, 0xDA, 0xE1
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_KEPT = _JPEG_FRAMES | {0xC4, 0xCC, _JPEG_SOS, 0xDB, 0xDD, 0xE0, 0xEE}
"""Frames, entropy and quantisation tables, restart interval, scans; JFIF and Adobe, which
say how colours are stored (T.81, table B.1)."""


def strip_jpeg(data: bytes) -> StrippedImage:
    """Copies what the first picture of a JPEG needs; see `containers.unpack`."""
    parts = [b"\xff\xd8"]
    exif = xmp = None
    markers = scans = pixels = 0
    found = _JPEG_SEGMENT.search(data, 2)
    while found:
        marker, start = found[1][0], found.start()
        markers += 1
        if markers > JPEG_MARKERS:
            raise ImageTooLargeError(
                f"The JPEG has more than {JPEG_MARKERS:,} segments, the limit here; photos have "
                "some dozens. Open it in a photo program and save it again, then try again."
            )
        if marker == _JPEG_EOI:
            parts.append(b"\xff\xd9")
            break
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        found = _JPEG_SEGMENT.search(data, end)
        if marker == _JPEG_SOS:
            scans += 1
            end = found.start() if found else len(data)
        if marker in _JPEG_FRAMES:  # then a length, the depth, height and width
            height, width = data[start + 5 : start + 7], data[start + 7 : start + 9]
            pixels = max(pixels, int.from_bytes(height) * int.from_bytes(width))
        if marker in _JPEG_KEPT:
            parts.append(data[start:end])
        elif marker == _JPEG_EXIF:
            body = data[start + 4 : end]
            if body.startswith(b"Exif\0\0"):
                exif = exif or exif_orientation(body)
            elif body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                xmp = xmp or xmp_orientation(body)
    most = max(JPEG_SCANS, JPEG_SCAN_PIXELS // max(1, pixels))
    if scans > most:
        raise ImageTooLargeError(
            f"The JPEG is built up in {scans:,} scans; the limit here is {most:,} for so many "
            "pixels. Open it in a photo program and save it again, then try again."
        )
    return StrippedImage(b"".join(parts), exif or xmp or 1)
