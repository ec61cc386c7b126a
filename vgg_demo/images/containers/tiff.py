"""TIFF 6.0, section 2 (directories), and BigTIFF."""

from __future__ import annotations

import struct

from vgg_demo.errors import ImageCorruptError, ImageTooLargeError
from vgg_demo.images.containers.stripped import StrippedImage
from vgg_demo.images.orientation import ORIENTATION, tag_orientation, xmp_orientation
from vgg_demo.images.tiff_tags import TagValues, read_tags

MAX_TAG_VALUES = 2**18
"""Maximum number of values of a tag, such as the offsets of strips or tiles. One row per strip in
each of 4 planes is the most that an image of up to 65,535 rows can need; each value costs
microseconds of Python."""
MAX_TILE_PIXELS = 2**24
"""libtiff allocates a whole tile whatever the size of the image. Real tiles have 16² to 4096²
pixels; larger ones are accepted if the image is as large."""

_WIDTH, _HEIGHT, _BITS, _STRIPS, _SAMPLE_FORMAT = 256, 257, 258, 273, 339
_TILE_WIDTH, _TILE_HEIGHT, _XMP = 322, 323, 700
_REQUIRED = frozenset({
    *(_WIDTH, _HEIGHT, _BITS, 259, 262, 266),  # size, depth, compression, color, fill order
    *(_STRIPS, 277, 278, 279, 284),  # strips, samples per pixel, planes
    *(292, 293, 317, 320),  # fax options, predictor, palette
    *(_TILE_WIDTH, _TILE_HEIGHT, 324, 325),  # tiles
    *(332, 338, _SAMPLE_FORMAT, 347),  # inks, alpha, sample format, JPEG tables
    *range(512, 522),  # the original JPEG compression of TIFF 6.0
    *(529, 530, 531, 532, 50674),  # YCbCr; LERC
})  # fmt: skip
"""The tags that define how pixels are stored (TIFF 6.0, appendix A)."""


def strip_tiff(data: bytes) -> StrippedImage:
    """Strips a TIFF; see `containers.strip_metadata`."""
    tags = read_tags(data, _REQUIRED | {ORIENTATION, _XMP})
    if not tags:
        raise ImageCorruptError(
            "The TIFF's directory is damaged or outside the file. "
            "Copy or download it again, then try again."
        )
    xmp = xmp_orientation(tags[_XMP].raw) if _XMP in tags else None
    orientation = tag_orientation(tags) or xmp or 1
    tags = {tag: tags[tag] for tag in sorted(_REQUIRED & tags.keys())}
    _check_tiff(tags)

    # Strips and tiles stay in place. A new directory is appended, with its own copy of each
    # value. All offsets are below 4 GB, so BigTIFF is not needed.
    order = "<" if data.startswith(b"II") else ">"
    start = len(data) + len(data) % 2
    values_at = start + 2 + 12 * len(tags) + 4
    entries = [struct.pack(f"{order}H", len(tags))]
    values = b""
    for tag, (type_code, length, raw, _) in tags.items():
        value = raw.ljust(4, b"\0")
        if len(raw) > 4:
            value = struct.pack(f"{order}I", values_at + len(values))
            values += raw + b"\0" * (len(raw) % 2)
        entries.append(struct.pack(f"{order}HHI4s", tag, type_code, length, value))
    header = data[:2] + struct.pack(f"{order}HI", 42, start)
    directory = b"".join(entries) + bytes(4) + values
    return StrippedImage(header + data[8:].ljust(start - 8, b"\0") + directory, orientation)


def _check_tiff(tags: dict[int, TagValues]) -> None:
    for tag, values in tags.items():
        if values.length > MAX_TAG_VALUES:
            raise ImageTooLargeError(
                f"Tag {tag} of the TIFF has {values.length:,} values; the limit is "
                f"{MAX_TAG_VALUES:,}. Save it as a JPEG or PNG, then try again."
            )
    first = {tag: (values.numbers() or (0,))[0] for tag, values in tags.items()}
    size = first.get(_WIDTH, 0) * first.get(_HEIGHT, 0)
    tile = first.get(_TILE_WIDTH, 0) * first.get(_TILE_HEIGHT, 0)
    if tile > max(size, MAX_TILE_PIXELS):
        raise ImageTooLargeError(
            f"The TIFF has tiles of {tile / 1e6:,.0f} megapixels in an image of "
            f"{size / 1e6:,.1f}; the limit is {MAX_TILE_PIXELS / 1e6:.0f}. "
            "Save it as a JPEG or PNG, then try again."
        )


def tiff_pixels(data: bytes) -> str | None:
    """Describes the pixel format of a TIFF, as in "3 × 32 bits, floating point".

    Returns None if the file is not a TIFF with this information.
    """
    tags = read_tags(data, {_BITS, _SAMPLE_FORMAT})
    if _BITS not in tags:
        return None
    bits = tags[_BITS].numbers()
    text = f"{len(bits)} × {max(bits, default=0)} bits"
    is_float = _SAMPLE_FORMAT in tags and 3 in tags[_SAMPLE_FORMAT].numbers()
    return f"{text}, floating point" if is_float else text
