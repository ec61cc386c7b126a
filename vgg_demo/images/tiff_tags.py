"""Parser for TIFF directories, which EXIF also uses."""

from __future__ import annotations

import struct
from typing import NamedTuple


class TagValues(NamedTuple):
    """The values of a tag as stored in the file.

    Attributes:
        type_code: TIFF type of the values, a key of `TYPES`.
        length: Number of values.
        raw: Bytes of the values.
        order: Byte order in the notation of `struct`: "<" (little-endian) or ">" (big-endian).
    """

    type_code: int
    length: int
    raw: bytes
    order: str

    def numbers(self) -> tuple[int, ...]:
        """Returns the values of an integer tag; an empty tuple for other types."""
        code = TYPES[self.type_code][1]
        return struct.unpack(f"{self.order}{self.length}{code}", self.raw) if code else ()


TYPES = {
    **{1: (1, "B"), 2: (1, ""), 3: (2, "H"), 4: (4, "I"), 5: (8, ""), 6: (1, "b"), 7: (1, "")},
    **{8: (2, "h"), 9: (4, "i"), 10: (8, ""), 11: (4, ""), 12: (8, ""), 13: (4, "I")},
    **{16: (8, "Q"), 17: (8, "q"), 18: (8, "Q")},
}
"""Size of a value in bytes and, for integers, the `struct` code of each type: TIFF 6.0, section 2;
13 from its supplement 1; 16 to 18 from BigTIFF."""


def read_tags(data: bytes, requested: frozenset[int] | set[int]) -> dict[int, TagValues]:
    """Returns the requested tags of the first directory by number, except malformed ones.

    Args:
        data: Bytes of a TIFF file, or of an EXIF record without its "Exif" prefix.
        requested: Numbers of the tags.
    """
    tags: dict[int, TagValues] = {}
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return tags
    is_big_tiff = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    offset_format = f"{order}{'Q' if is_big_tiff else 'I'}"
    start: int = struct.unpack_from(offset_format, data, 8 if is_big_tiff else 4)[0]
    entry = struct.Struct(f"{order}HH{'Q8s' if is_big_tiff else 'I4s'}")
    counter = struct.Struct(f"{order}{'Q' if is_big_tiff else 'H'}")
    if start + counter.size > len(data):
        return tags
    count: int = counter.unpack_from(data, start)[0]
    start += counter.size
    for at in range(start, min(start + count * entry.size, len(data) - entry.size + 1), entry.size):
        tag, type_code, length, value = entry.unpack_from(data, at)
        if tag not in requested or tag in tags or type_code not in TYPES or not length:
            continue
        size = length * TYPES[type_code][0]
        if size > len(value):
            offset = struct.unpack(offset_format, value)[0]
            value = data[offset : offset + size]
        if len(value) >= size:
            tags[tag] = TagValues(type_code, length, value[:size], order)
    return tags
