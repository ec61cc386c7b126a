"""HEIC and AVIF: ISO/IEC 14496-12 (boxes), 23008-12 (items), AV1, section 5 (OBUs)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from vgg_demo.errors import ImageCorruptError, ImageTooLargeError
from vgg_demo.images.containers.stripped import StrippedImage

MAX_PARTS = 10_000
"""Maximum number of extents of items, or of units of coded data (OBUs) in AVIF. Each costs an
iteration in Python; the grid of a large photo has a few hundred."""
MAX_TABLE_BYTES = 2**17
"""Maximum size of each table, enough for about 5,000 items. For each item, libavif searches a list
of all items."""
MAX_PIXELS = 100_000_000
"""Maximum pixels of all images in the file together: one image of 50 megapixels, the usual limit,
and its transparency or gain map. The declared size does not bound the work: libavif decodes the
size in the AV1 data, up to 16,384², and scales it to the declared size; libheif composes grids and
overlays, with tiles of any size, before it compares sizes."""


def strip_heif(data: bytes) -> StrippedImage:
    """Strips a HEIC or AVIF file; see `containers.strip_metadata`."""
    # Decode the still image, not the animation, whose frames are stored elsewhere.
    if data.startswith(b"ftypavis", 4):
        data = data[:8] + b"avif" + data[12:]
    try:
        top = _find_boxes(data, 0, len(data))
        meta = top.get(b"meta")
        if meta is None:
            return StrippedImage(data)
        pixels = _pixels_to_decode(data, _find_boxes(data, meta.start + 4, meta.stop))
    except (IndexError, KeyError, struct.error) as error:
        raise ImageCorruptError(
            "The file's directory is damaged or incomplete. "
            "Copy or download it again, then try again."
        ) from error
    if pixels > MAX_PIXELS:
        raise ImageTooLargeError(
            f"The file contains images with {pixels / 1e6:,.0f} megapixels in total; the limit is "
            f"{MAX_PIXELS / 1e6:.0f} megapixels. "
            "Save it as a JPEG or PNG, then try again."
        )
    # Hide EXIF items, which Pillow would read, and content descriptions, which pillow-heif copies
    # for each image. All offsets stay the same.
    directory = data[meta].replace(b"Exif", b"skip").replace(b"cdsc", b"skip")
    return StrippedImage(data[: meta.start] + directory + data[meta.stop :])


def _boxes(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, slice]]:
    """Yields the type and the body of each box (ISO/IEC 14496-12, section 4.2)."""
    while start + 8 <= stop:
        size, box_type = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        elif size == 0:
            size = stop - start
        if size < head:
            return
        yield box_type, slice(start + head, min(start + size, stop))
        start += size


def _find_boxes(data: bytes, start: int, stop: int) -> dict[bytes, slice]:
    """Returns the body of each box by its type.

    Duplicates of a table are rejected, because libraries disagree on which one counts.
    """
    boxes: dict[bytes, slice] = {}
    for box_type, box in _boxes(data, start, stop):
        if box_type in boxes and box_type in _UNIQUE_BOXES:
            raise KeyError(box_type)
        if box_type in _TABLES and box.stop - box.start > MAX_TABLE_BYTES:
            raise ImageTooLargeError(
                f"A table in the file's directory is {box.stop - box.start:,} bytes; the limit is "
                f"{MAX_TABLE_BYTES:,}. Save it as a JPEG or PNG, then try again."
            )
        boxes[box_type] = box
    return boxes


_TABLES = (b"iinf", b"iloc", b"iref", b"ipma")
_UNIQUE_BOXES = (b"meta", b"iinf", b"iloc", b"iref", b"iprp", b"ipco", b"idat")


def _pixels_to_decode(data: bytes, boxes: dict[bytes, slice]) -> int:
    """Returns the largest of the pixel counts: coded AV1, composed images, and tiles."""
    coded = composed = tiles = 0
    for item_type, item in _items(data, boxes):
        if item_type == b"av01":
            coded += max((_sequence_pixels(header) for header in _av1_sequences(item)), default=0)
        elif item_type in (b"grid", b"iovl"):  # ISO/IEC 23008-12, 6.6.2.3.2 and 6.6.2.2.2
            layout = ">II" if item[1] & 1 else ">HH"
            width, height = struct.unpack_from(layout, item, 4 if item_type == b"grid" else 10)
            composed += width * height
    declared = _declared_pixels(data, boxes[b"iprp"])
    if b"iref" in boxes:
        references = boxes[b"iref"]
        code = "I" if data[references.start] else "H"
        for box_type, box in _boxes(data, references.start + 4, references.stop):
            if box_type == b"dimg":  # derived from (ISO/IEC 14496-12, 8.11.12)
                reader = struct.Struct(f">{code}H")
                _, count = reader.unpack_from(data, box.start)
                sources = struct.unpack_from(f">{count}{code}", data, box.start + reader.size)
                tiles += sum(declared.get(item, 0) for item in sources)
    return max(coded, composed, tiles)


def _declared_pixels(data: bytes, properties: slice) -> dict[int, int]:
    """Returns the declared pixels of each item (ISO/IEC 23008-12, 6.5.3 and 9.3)."""
    boxes = _find_boxes(data, properties.start, properties.stop)
    sizes = []
    for box_type, box in _boxes(data, boxes[b"ipco"].start, boxes[b"ipco"].stop):
        width, height = (
            struct.unpack_from(">II", data, box.start + 4) if box_type == b"ispe" else (0, 0)
        )
        sizes.append(width * height)
        if len(sizes) > MAX_PARTS:
            raise IndexError(len(sizes))
    declared: dict[int, int] = {}
    for box_type, box in _boxes(data, properties.start, properties.stop):
        if box_type == b"ipma":
            table = _Reader(data[box])
            version, flags = table.number(1), table.number(3)
            index_size, index_bits = (2, 0x7FFF) if flags & 1 else (1, 0x7F)
            for _ in range(table.number(4)):
                item = table.number(4 if version else 2)
                for _ in range(table.number(1)):
                    index = table.number(index_size) & index_bits  # 1-based
                    size = sizes[index - 1] if index else 0
                    declared[item] = max(declared.get(item, 0), size)
    return declared


def _items(data: bytes, boxes: dict[bytes, slice]) -> Iterator[tuple[bytes, bytes]]:
    """Yields the type and the bytes of each item (ISO/IEC 14496-12, 8.11.3 and 8.11.6)."""
    item_types = {}
    infos = boxes[b"iinf"]
    first = infos.start + (6 if data[infos.start] == 0 else 8)  # after version, flags, count
    for box_type, info in _boxes(data, first, infos.stop):
        if box_type == b"infe":
            layout = ">HH4s" if data[info.start] == 2 else ">IH4s"
            item, _, item_type = struct.unpack_from(layout, data, info.start + 4)
            item_types[item] = item_type

    locations = _Reader(data[boxes[b"iloc"]])
    version = locations.number(1)
    locations.number(3)  # flags
    sizes = locations.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> s & 15 for s in (12, 8, 4, 0))
    total = parts = 0
    for _ in range(locations.number(4 if version == 2 else 2)):
        item = locations.number(4 if version == 2 else 2)
        in_directory = version > 0 and locations.number(2) & 15 == 1  # construction method: idat
        locations.number(2)  # data reference
        base = locations.number(base_size) + (boxes[b"idat"].start if in_directory else 0)
        body = []
        for _ in range(locations.number(2)):
            locations.number(index_size if version > 0 else 0)
            start = base + locations.number(offset_size)
            body.append(data[start : start + locations.number(length_size)])
            total += len(body[-1])
            parts += 1
            if total > 2 * len(data) or parts > MAX_PARTS:
                raise ImageTooLargeError(
                    "The file uses the same bytes many times or consists of more than "
                    f"{MAX_PARTS:,} parts, which is the limit. "
                    "Save it as a JPEG or PNG, then try again."
                )
        yield item_types.get(item, b""), b"".join(body)


class _Reader:
    """Reads a sequence of big-endian integers."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def number(self, size: int) -> int:
        end = self._position + size
        if end > len(self._data):
            raise IndexError(end)
        value = int.from_bytes(self._data[self._position : end])
        self._position = end
        return value


def _av1_sequences(item: bytes) -> Iterator[bytes]:
    """Yields the sequence headers among the open bitstream units (OBUs; AV1, section 5.3)."""
    position = units = 0
    while position < len(item):
        header = item[position]
        position += 2 if header & 4 else 1  # with an extension byte
        size = len(item) - position
        if header & 2:
            size = shift = 0
            while shift < 56:  # leb128 (AV1, section 4.10.5)
                byte = item[position]
                size |= (byte & 127) << shift
                position, shift = position + 1, shift + 7
                if byte < 128:
                    break
        if header >> 3 & 15 == 1:
            yield item[position : position + size]
        position += size
        units += 1
        if units > MAX_PARTS:
            raise ImageTooLargeError(
                f"The AVIF has more than {MAX_PARTS:,} units of coded data, which is the limit. "
                "Save it as a JPEG or PNG, then try again."
            )


def _sequence_pixels(header: bytes) -> int:
    """Returns max_frame_width × max_frame_height of a sequence header (AV1, section 5.5.1)."""
    bits = "".join(f"{byte:08b}" for byte in header[:512])  # headers have up to about 300 bytes
    position = 0

    def read(count: int) -> int:
        nonlocal position
        position += count
        return int(bits[position - count : position] or "0", 2) if count else 0

    read(4)  # profile, still picture
    if read(1):  # reduced still picture header
        read(5)
    else:
        delay_bits = 0
        if read(1):  # timing
            read(64)
            if read(1):  # equal intervals, followed by an exponential-Golomb number
                zeros = (bits.find("1", position) - position) if "1" in bits[position:] else 0
                read(2 * zeros + 1)
            if read(1):  # decoder model
                delay_bits = 1 + read(5)
                read(42)
        has_delay = read(1)
        for _ in range(read(5) + 1):  # operating points
            read(12)
            if read(5) > 7:
                read(1)
            if delay_bits and read(1):
                read(2 * delay_bits + 1)
            if has_delay and read(1):
                read(4)
    width_bits, height_bits = read(4) + 1, read(4) + 1
    return (read(width_bits) + 1) * (read(height_bits) + 1)
