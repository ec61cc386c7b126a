"""EXIF and XMP orientation: parsing, and rotating an image upright."""

from __future__ import annotations

import re

from PIL import Image

from vgg_demo.images.tiff_tags import TYPES, TagValues, read_tags

ORIENTATION = 0x0112  # EXIF 2.3, table 4
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)([1-8])")


def exif_orientation(exif: bytes) -> int | None:
    """Returns the orientation of an EXIF record (1 to 8), or None if it has none.

    Reads the tag from the first directory, whatever type it is stored as.

    >>> import struct
    >>> exif_orientation(b"Exif" + bytes(2) + b"II*" + bytes([0, 8, 0, 0, 0, 1, 0])
    ...                  + struct.pack("<HHII", 0x0112, 3, 1, 6))
    6
    """
    start = 0
    while exif.startswith(b"Exif\0\0", start):
        start += 6
    return tag_orientation(read_tags(exif[start:], {ORIENTATION}))


def xmp_orientation(xmp: bytes) -> int | None:
    """Returns the orientation of an XMP record (1 to 8), or None if it has none."""
    match = _XMP_ORIENTATION.search(xmp)
    return int(match[1]) if match else None


def tag_orientation(tags: dict[int, TagValues]) -> int | None:
    """Returns the orientation among TIFF tags, or None unless it is a number from 1 to 8."""
    if ORIENTATION not in tags:
        return None
    type_code, _, raw, order = tags[ORIENTATION]
    if type_code == 2 and raw[:1].isdigit():  # ASCII
        number = int(raw[:1])
    else:
        size = TYPES[type_code][0]
        number = int.from_bytes(raw[:size], "little" if order == "<" else "big")
    return number if 1 <= number <= 8 else None


TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that undoes each EXIF orientation except 1 (EXIF 2.3, section 4.6.4 A). Pillow's
`exif_transpose` is not used because it would also rewrite the whole EXIF record."""


def apply_orientation(image: Image.Image, orientation: int | None) -> Image.Image:
    """Rotates or flips an image upright; returns it unchanged for orientation 1 or None."""
    if orientation not in TRANSPOSITIONS:
        return image
    return image.transpose(TRANSPOSITIONS[orientation])
