"""TIFF directories, which EXIF is made of too."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Values(NamedTuple):
    """The values of a tag, as they are stored.

    Attributes:
        kind: Their type, a key of `TYPES`.
        length: How many there are.
        raw: Their bytes.
        order: Byte order.
    """

    kind: int
    length: int
    raw: bytes
    order: str  # as `struct` writes it: "<" is little-endian

    def numbers(self) -> tuple[int, ...]:
        """The values of a tag of whole numbers; nothing for other types."""
        code = TYPES[self.kind][1]
        return struct.unpack(f"{self.order}{self.length}{code}", self.raw) if code else ()


TYPES = {
    **{1: (1, "B"), 2: (1, ""), 3: (2, "H"), 4: (4, "I"), 5: (8, ""), 6: (1, "b"), 7: (1, "")},
    **{8: (2, "h"), 9: (4, "i"), 10: (8, ""), 11: (4, ""), 12: (8, ""), 13: (4, "I")},
    **{16: (8, "Q"), 17: (8, "q"), 18: (8, "Q")},
}
"""Bytes of a value of each type and, of whole numbers, the code in `struct`: TIFF 6.0,
section 2; 13 from its supplement 1, 16 to 18 from BigTIFF."""


def read_entries(data: bytes, wanted: frozenset[int] | set[int]) -> dict[int, Values]:
    """Reads the wanted tags of the first directory as far as they make sense."""
    tags: dict[int, Values] = {}
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return tags
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    start: int = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)[0]
    entry = struct.Struct(f"{order}HH{'Q8s' if big else 'I4s'}")
    counter = struct.Struct(f"{order}{'Q' if big else 'H'}")
    if start + counter.size > len(data):
        return tags
    count: int = counter.unpack_from(data, start)[0]
    start += counter.size
    for at in range(start, min(start + count * entry.size, len(data) - entry.size + 1), entry.size):
        tag, kind, length, value = entry.unpack_from(data, at)
        if tag not in wanted or tag in tags or kind not in TYPES or not length:
            continue
        size = length * TYPES[kind][0]
        if size > len(value):
            offset = struct.unpack(f"{order}{'Q' if big else 'I'}", value)[0]
            value = data[offset : offset + size]
        if len(value) >= size:
            tags[tag] = Values(kind, length, value[:size], order)
    return tags
