"""TIFF 6.0, section 2 (directories), and BigTIFF."""

from __future__ import annotations

import struct

from vgg_demo.errors import ImageCorruptError, ImageTooLargeError
from vgg_demo.images.containers.stripped import StrippedImage
from vgg_demo.images.orientation import ORIENTATION, tag_orientation, xmp_orientation
from vgg_demo.images.tiff_tags import Values, read_entries

TIFF_PIECES = 2**18
"""Strips, tiles, or values of any tag. One row a strip in each of 4 planes is the most that
a picture of up to 65,535 rows can need; each costs some microseconds of Python."""
TIFF_TILE_PIXELS = 2**24
"""libtiff allocates a whole tile whatever the picture's size. Real tiles have 16² to 4096²
pixels; larger ones are accepted where the picture is as large."""

_WIDTH, _HEIGHT, _BITS, _STRIPS, _SAMPLE_FORMAT = 256, 257, 258, 273, 339
_TILE_WIDTH, _TILE_HEIGHT, _XMP = 322, 323, 700
_TIFF_KEPT = frozenset({
    *(_WIDTH, _HEIGHT, _BITS, 259, 262, 266),  # size, depth, compression, colours, fill order
    *(_STRIPS, 277, 278, 279, 284),  # strips, samples per pixel, planes
    *(292, 293, 317, 320),  # fax options, predictor, palette
    *(_TILE_WIDTH, _TILE_HEIGHT, 324, 325),  # tiles
    *(332, 338, _SAMPLE_FORMAT, 347),  # inks, alpha, sample format, JPEG tables
    *range(512, 522),  # JPEG as TIFF 6.0 first had it
    *(529, 530, 531, 532, 50674),  # YCbCr; LERC
})  # fmt: skip
"""The tags that say how the pixels are stored (TIFF 6.0, appendix A)."""


def strip_tiff(data: bytes) -> StrippedImage:
    """Copies what the first picture of a TIFF needs; see `containers.unpack`."""
    tags = read_entries(data, _TIFF_KEPT | {ORIENTATION, _XMP})
    if not tags:
        raise ImageCorruptError(
            "The TIFF's directory is damaged or lies outside the file. "
            "Copy or download it again, then try again."
        )
    xmp = xmp_orientation(tags[_XMP].raw) if _XMP in tags else None
    orientation = tag_orientation(tags) or xmp or 1
    tags = {tag: tags[tag] for tag in sorted(_TIFF_KEPT & tags.keys())}
    _check_tiff(tags)

    # The pieces stay where the directory says they are; a new directory goes to the end,
    # with its own copy of each value. Nothing is as far as 4 GB, so BigTIFF is not needed.
    order = "<" if data.startswith(b"II") else ">"
    start = len(data) + len(data) % 2
    values_at = start + 2 + 12 * len(tags) + 4
    entries = [struct.pack(f"{order}H", len(tags))]
    values = b""
    for tag, (kind, length, raw, _) in tags.items():
        value = raw.ljust(4, b"\0")
        if len(raw) > 4:
            value = struct.pack(f"{order}I", values_at + len(values))
            values += raw + b"\0" * (len(raw) % 2)
        entries.append(struct.pack(f"{order}HHI4s", tag, kind, length, value))
    header = data[:2] + struct.pack(f"{order}HI", 42, start)
    directory = b"".join(entries) + bytes(4) + values
    return StrippedImage(header + data[8:].ljust(start - 8, b"\0") + directory, orientation)


def _check_tiff(tags: dict[int, Values]) -> None:
    for tag, values in tags.items():
        if values.length > TIFF_PIECES:
            raise ImageTooLargeError(
                f"The TIFF's tag {tag} has {values.length:,} values, such as pieces of the "
                f"picture; the limit here is {TIFF_PIECES:,}. "
                "Save it as a JPEG or PNG, then try again."
            )
    first = {tag: (values.numbers() or (0,))[0] for tag, values in tags.items()}
    size = first.get(_WIDTH, 0) * first.get(_HEIGHT, 0)
    tile = first.get(_TILE_WIDTH, 0) * first.get(_TILE_HEIGHT, 0)
    if tile > max(size, TIFF_TILE_PIXELS):
        raise ImageTooLargeError(
            f"The TIFF has tiles of {tile / 1e6:,.0f} megapixels in a picture of "
            f"{size / 1e6:,.1f}; the limit here is {TIFF_TILE_PIXELS / 1e6:.0f}. "
            "Save it as a JPEG or PNG, then try again."
        )


def tiff_pixels(data: bytes) -> str | None:
    """Says how a TIFF's pixels are stored, for a message: "3 × 32 bits, floating point"."""
    tags = read_entries(data, {_BITS, _SAMPLE_FORMAT})
    if _BITS not in tags:
        return None
    bits = tags[_BITS].numbers()
    text = f"{len(bits)} × {max(bits, default=0)} bits"
    is_float = _SAMPLE_FORMAT in tags and 3 in tags[_SAMPLE_FORMAT].numbers()
    return f"{text}, floating point" if is_float else text
