"""Pictures without their luggage: what Pillow is given of a stranger's file.

A picture file is a container: pixels, and beside them EXIF, XMP, colour profiles,
comments, thumbnails, further frames. This program needs the first picture and which way
up it is. `unpack` reads the orientation and copies only the parts that the pixels need,
so the luggage, where most hostile files hide their cost, never reaches Pillow. What the
pixels need can be excessive too; the limits for that are here as well, each with its why.

Everything works on bytes and reads each of them a bounded number of times. Bytes that make
no sense are left to Pillow to judge. The walks follow

* JPEG: ITU-T T.81, annex B (markers);
* PNG: W3C PNG, 3rd edition, section 5 (chunks);
* GIF: GIF89a, sections 15 to 27 (blocks);
* WebP: RFC 9649, section 2 (RIFF chunks);
* TIFF: TIFF 6.0, section 2 (directories), and BigTIFF; also the layout of EXIF;
* HEIC and AVIF: ISO/IEC 14496-12 (boxes), 23008-12 (items), AV1, section 5 (OBUs).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from vgg_demo.errors import ImageCorruptError, ImageTooLargeError

JPEG_SCANS = 25
"""A picture of any size may have so many; encoders write 1 to about 15 …"""
JPEG_SCAN_PIXELS = JPEG_SCANS * 50_000_000
"""… and a smaller one more: each scan, though it may consist of a few bytes, makes libjpeg
pass over the whole picture, which takes 0.1 s for 50 megapixels."""
JPEG_MARKERS = 10_000
"""Each costs a step of this walk. Photos have some dozens; a profile and XMP that fill
20 MB, in pieces of 64 kB, some hundreds."""
BLOCKS = 100_000
"""Chunks of a PNG or WebP, or blocks before the picture of a GIF. Each costs a step of this
walk. Encoders fill their blocks: 20 MB are 80,000 full blocks of a GIF (255 bytes), or 2,500
chunks of a PNG as libpng writes them (8 kB)."""
TIFF_PIECES = 2**18
"""Strips, tiles, or values of any tag. One row a strip in each of 4 planes is the most that
a picture of up to 65,535 rows can need; each costs some microseconds of Python."""
TIFF_TILE_PIXELS = 2**24
"""libtiff allocates a whole tile whatever the picture's size. Real tiles have 16² to 4096²
pixels; larger ones are accepted where the picture is as large."""
HEIF_PARTS = 10_000
"""Pieces of items in HEIC and AVIF files, and units of coded data in AVIF. Each costs a step
of this walk; the grid of a large photo has some hundreds."""
HEIF_TABLE = 2**17
"""Bytes of each of the tables in HEIC and AVIF files, which is room for some 5,000 items.
libavif looks each up in a list of all."""
HEIF_PIXELS = 100_000_000
"""All pictures in the file together: one of 50 megapixels, the usual limit, and its
transparency or gain map. The size that the file declares is no measure of the work: libavif
decodes whatever size the AV1 data have, up to 16,384², and scales it to the declared one;
libheif composes grids and overlays before it compares sizes, of tiles as large as you like."""


class Unpacked(NamedTuple):
    """The parts of a file that its first picture needs.

    Attributes:
        data: A file of the same format.
        orientation: Of the stored pixels, 1 to 8, as EXIF counts; 1 is upright.
    """

    data: bytes
    orientation: int = 1


def unpack(data: bytes) -> Unpacked:
    """Copies what the first picture needs and reads which way up it is.

    Args:
        data: A file's bytes, of any kind; formats without luggage are returned as they are.

    Raises:
        ImageTooLargeError: If decoding would cost far more than the picture's size explains.
        ImageCorruptError: If the directory of a TIFF or AVIF cannot be read.
    """
    for offset, magic, walk in (
        (0, b"\xff\xd8\xff", _jpeg),
        (0, b"\x89PNG\r\n\x1a\n", _png),
        (0, b"GIF8", _gif),
        (8, b"WEBP", _webp),
        (0, b"II*\0", _tiff),
        (0, b"II+\0", _tiff),  # BigTIFF
        (0, b"MM\0*", _tiff),
        (0, b"MM\0+", _tiff),
        (4, b"ftyp", _heif),
    ):
        if data.startswith(magic, offset):
            return walk(data)
    return Unpacked(data)


def _check_blocks(count: int) -> None:
    if count > BLOCKS:
        raise ImageTooLargeError(
            f"The file is cut into more than {BLOCKS:,} blocks, the limit here. "
            "Open it in a photo program and save it again, then try again."
        )


# ── Orientation ──────────────────────────────────────────────────────────────────────────

ORIENTATION = 0x0112  # EXIF 2.3, table 4
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)([1-8])")


def exif_orientation(exif: bytes) -> int | None:
    """Reads one tag of the first directory of an EXIF record, in whatever type it is stored.

    >>> exif_orientation(b"Exif" + bytes(2) + b"II*" + bytes([0, 8, 0, 0, 0, 1, 0])
    ...                  + struct.pack("<HHII", 0x0112, 3, 1, 6))
    6
    """
    start = 0
    while exif.startswith(b"Exif\0\0", start):
        start += 6
    return _orientation(_entries(exif[start:], {ORIENTATION}))


def _xmp_orientation(xmp: bytes) -> int | None:
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[1]) if found else None


def _orientation(tags: dict[int, _Values]) -> int | None:
    if ORIENTATION not in tags:
        return None
    kind, _, raw, order = tags[ORIENTATION]
    if kind == 2 and raw[:1].isdigit():  # ASCII
        number = int(raw[:1])
    else:
        size = _TYPES[kind][0]
        number = int.from_bytes(raw[:size], "little" if order == "<" else "big")
    return number if 1 <= number <= 8 else None


# ── JPEG ─────────────────────────────────────────────────────────────────────────────────

_JPEG_SEGMENT = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
"""A marker that means something here: in entropy-coded data, FF is followed by 00 or a
restart marker, D0 to D7 (T.81, B.1.1.5)."""
_JPEG_EOI, _JPEG_SOS, _JPEG_EXIF = 0xD9, 0xDA, 0xE1
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_KEPT = _JPEG_FRAMES | {0xC4, 0xCC, _JPEG_SOS, 0xDB, 0xDD, 0xE0, 0xEE}
"""Frames, entropy and quantisation tables, restart interval, scans; JFIF and Adobe, which
say how colours are stored (T.81, table B.1)."""


def _jpeg(data: bytes) -> Unpacked:
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
                xmp = xmp or _xmp_orientation(body)
    most = max(JPEG_SCANS, JPEG_SCAN_PIXELS // max(1, pixels))
    if scans > most:
        raise ImageTooLargeError(
            f"The JPEG is built up in {scans:,} scans; the limit here is {most:,} for so many "
            "pixels. Open it in a photo program and save it again, then try again."
        )
    return Unpacked(b"".join(parts), exif or xmp or 1)


# ── PNG ──────────────────────────────────────────────────────────────────────────────────

_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS")


def _png(data: bytes) -> Unpacked:
    kept: dict[bytes, bytes] = {}
    pixels = []
    exif = xmp = None
    position, chunks_read = 8, 0
    while position + 8 <= len(data):
        chunks_read += 1
        _check_blocks(chunks_read)
        length, kind = struct.unpack_from(">I4s", data, position)
        body = slice(position + 8, position + 8 + length)
        if kind == b"IDAT":
            pixels.append(data[body])
        elif kind in _PNG_KEPT:
            kept.setdefault(kind, data[position : body.stop + 4])
        elif kind == b"eXIf":
            exif = exif or exif_orientation(data[body])
        elif kind == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0", body.start):
            xmp = xmp or _xmp_orientation(data[body])
        elif kind == b"IEND":
            break
        position = body.stop + 4
    # One IDAT, for Pillow takes Python steps for each, and a chunk may hold a single byte.
    chunks = [*kept.values(), _png_chunk(b"IDAT", b"".join(pixels)), _png_chunk(b"IEND", b"")]
    return Unpacked(data[:8] + b"".join(chunks), exif or xmp or 1)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# ── GIF ──────────────────────────────────────────────────────────────────────────────────

_GIF_BLOCK = re.compile(rb"[!,;]")  # extension, image, trailer


def _gif(data: bytes) -> Unpacked:
    header = data[:13]
    if len(header) == 13 and header[10] & 0x80:
        header = data[: 13 + (6 << (header[10] & 7))]  # with the colour table
    control = b""
    blocks = 0
    found = _GIF_BLOCK.search(data, len(header))
    while found:
        position = found.start()
        if found[0] == b",":
            return Unpacked(header + control + data[position:])
        if found[0] == b";":
            break
        if data[position + 1 : position + 3] == b"\xf9\x04" and position + 8 <= len(data):
            # Only which colour is transparent: disposal, for which Pillow would allocate a
            # picture, and delay are for the next frame.
            transparent = bytes([data[position + 3] & 1, 0, 0, data[position + 6]])
            control = b"!\xf9\x04" + transparent + b"\0"
        position += 2
        while position < len(data) and data[position]:
            position += 1 + data[position]
            blocks += 1
            _check_blocks(blocks)
        blocks += 1
        _check_blocks(blocks)
        found = _GIF_BLOCK.search(data, position + 1)
    return Unpacked(header + b";")


# ── WebP ─────────────────────────────────────────────────────────────────────────────────

_WEBP_KEPT = (b"VP8X", b"ANIM", b"ALPH")
_WEBP_PICTURES = (b"VP8 ", b"VP8L", b"ANMF")
_WEBP_LUGGAGE = 0x20 | 0x08 | 0x04  # VP8X flags of a colour profile, EXIF and XMP


def _webp(data: bytes) -> Unpacked:
    parts: list[bytes] = []
    exif = xmp = None
    has_picture = False
    position, chunks = 12, 0
    while position + 8 <= len(data):
        chunks += 1
        _check_blocks(chunks)
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
            xmp = xmp or _xmp_orientation(data[body])
        position = end
    if parts and parts[0].startswith(b"VP8X") and len(parts[0]) > 8:
        flags = parts[0][8] & ~_WEBP_LUGGAGE
        parts[0] = parts[0][:8] + bytes([flags]) + parts[0][9:]
    riff = b"WEBP" + b"".join(parts)
    return Unpacked(b"RIFF" + struct.pack("<I", len(riff)) + riff, exif or xmp or 1)


# ── TIFF ─────────────────────────────────────────────────────────────────────────────────


class _Values(NamedTuple):
    kind: int
    length: int
    raw: bytes
    order: str  # as `struct` writes it: "<" is little-endian

    def numbers(self) -> tuple[int, ...]:
        """The values of a tag of whole numbers; nothing for other types."""
        code = _TYPES[self.kind][1]
        return struct.unpack(f"{self.order}{self.length}{code}", self.raw) if code else ()


_TYPES = {
    **{1: (1, "B"), 2: (1, ""), 3: (2, "H"), 4: (4, "I"), 5: (8, ""), 6: (1, "b"), 7: (1, "")},
    **{8: (2, "h"), 9: (4, "i"), 10: (8, ""), 11: (4, ""), 12: (8, ""), 13: (4, "I")},
    **{16: (8, "Q"), 17: (8, "q"), 18: (8, "Q")},
}
"""Bytes of a value of each type and, of whole numbers, the code in `struct`: TIFF 6.0,
section 2; 13 from its supplement 1, 16 to 18 from BigTIFF."""
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


def _tiff(data: bytes) -> Unpacked:
    tags = _entries(data, _TIFF_KEPT | {ORIENTATION, _XMP})
    if not tags:
        raise ImageCorruptError(
            "The TIFF's directory is damaged or lies outside the file. "
            "Copy or download it again, then try again."
        )
    xmp = _xmp_orientation(tags[_XMP].raw) if _XMP in tags else None
    orientation = _orientation(tags) or xmp or 1
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
    return Unpacked(header + data[8:].ljust(start - 8, b"\0") + directory, orientation)


def _check_tiff(tags: dict[int, _Values]) -> None:
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


def _entries(data: bytes, wanted: frozenset[int] | set[int]) -> dict[int, _Values]:
    """Reads the wanted tags of the first directory as far as they make sense."""
    tags: dict[int, _Values] = {}
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
        if tag not in wanted or tag in tags or kind not in _TYPES or not length:
            continue
        size = length * _TYPES[kind][0]
        if size > len(value):
            offset = struct.unpack(f"{order}{'Q' if big else 'I'}", value)[0]
            value = data[offset : offset + size]
        if len(value) >= size:
            tags[tag] = _Values(kind, length, value[:size], order)
    return tags


def tiff_pixels(data: bytes) -> str | None:
    """Says how a TIFF's pixels are stored, for a message: "3 × 32 bits, floating point"."""
    tags = _entries(data, {_BITS, _SAMPLE_FORMAT})
    if _BITS not in tags:
        return None
    bits = tags[_BITS].numbers()
    text = f"{len(bits)} × {max(bits, default=0)} bits"
    is_float = _SAMPLE_FORMAT in tags and 3 in tags[_SAMPLE_FORMAT].numbers()
    return f"{text}, floating point" if is_float else text


# ── HEIC and AVIF ────────────────────────────────────────────────────────────────────────


def _heif(data: bytes) -> Unpacked:
    # The still picture, not an animation, whose pictures would be elsewhere.
    if data.startswith(b"ftypavis", 4):
        data = data[:8] + b"avif" + data[12:]
    try:
        top = _once_each(data, 0, len(data))
        meta = top.get(b"meta")
        if meta is None:
            return Unpacked(data)
        pixels = _heif_pixels(data, _once_each(data, meta.start + 4, meta.stop))
    except (IndexError, KeyError, struct.error) as error:
        raise ImageCorruptError(
            "The file's directory is damaged or cut off. Copy or download it again, then try again."
        ) from error
    if pixels > HEIF_PIXELS:
        raise ImageTooLargeError(
            f"The file holds pictures of {pixels / 1e6:,.0f} megapixels; the limit here is "
            f"{HEIF_PIXELS / 1e6:.0f} megapixels for all in a file. "
            "Save it as a JPEG or PNG, then try again."
        )
    # No item is called EXIF, which Pillow would read, and none describes a picture, for
    # pillow-heif copies each description for each picture. Nothing changes its place.
    directory = data[meta].replace(b"Exif", b"skip").replace(b"cdsc", b"skip")
    return Unpacked(data[: meta.start] + directory + data[meta.stop :])


def _boxes(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, slice]]:
    """Yields the type and the body of each box (ISO/IEC 14496-12, section 4.2)."""
    while start + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        elif size == 0:
            size = stop - start
        if size < head:
            return
        yield kind, slice(start + head, min(start + size, stop))
        start += size


def _once_each(data: bytes, start: int, stop: int) -> dict[bytes, slice]:
    """Finds boxes by type. Two tables of a type would be read differently by each library."""
    found: dict[bytes, slice] = {}
    for kind, box in _boxes(data, start, stop):
        if kind in found and kind in _HEIF_ONCE:
            raise KeyError(kind)
        if kind in _HEIF_TABLES and box.stop - box.start > HEIF_TABLE:
            raise ImageTooLargeError(
                f"A table of the file's parts has {box.stop - box.start:,} bytes; the limit here "
                f"is {HEIF_TABLE:,}. Save it as a JPEG or PNG, then try again."
            )
        found[kind] = box
    return found


_HEIF_TABLES = (b"iinf", b"iloc", b"iref", b"ipma")
_HEIF_ONCE = (b"meta", b"iinf", b"iloc", b"iref", b"iprp", b"ipco", b"idat")


def _heif_pixels(data: bytes, boxes: dict[bytes, slice]) -> int:
    """The most of what there is to do: AV1 to decode, pictures to compose, tiles to decode."""
    coded = composed = tiles = 0
    for kind, item in _items(data, boxes):
        if kind == b"av01":
            coded += max((_sequence_pixels(header) for header in _av1_sequences(item)), default=0)
        elif kind in (b"grid", b"iovl"):  # ISO/IEC 23008-12, 6.6.2.3.2 and 6.6.2.2.2
            layout = ">II" if item[1] & 1 else ">HH"
            width, height = struct.unpack_from(layout, item, 4 if kind == b"grid" else 10)
            composed += width * height
    declared = _declared_pixels(data, boxes[b"iprp"])
    if b"iref" in boxes:
        references = boxes[b"iref"]
        code = "I" if data[references.start] else "H"
        for kind, box in _boxes(data, references.start + 4, references.stop):
            if kind == b"dimg":  # made of (ISO/IEC 14496-12, 8.11.12)
                reader = struct.Struct(f">{code}H")
                _, count = reader.unpack_from(data, box.start)
                made_of = struct.unpack_from(f">{count}{code}", data, box.start + reader.size)
                tiles += sum(declared.get(item, 0) for item in made_of)
    return max(coded, composed, tiles)


def _declared_pixels(data: bytes, properties: slice) -> dict[int, int]:
    """Reads the size that each item declares (ISO/IEC 23008-12, 6.5.3 and 9.3)."""
    boxes = _once_each(data, properties.start, properties.stop)
    sizes = []
    for kind, box in _boxes(data, boxes[b"ipco"].start, boxes[b"ipco"].stop):
        width, height = (
            struct.unpack_from(">II", data, box.start + 4) if kind == b"ispe" else (0, 0)
        )
        sizes.append(width * height)
        if len(sizes) > HEIF_PARTS:
            raise IndexError(len(sizes))
    declared: dict[int, int] = {}
    for kind, box in _boxes(data, properties.start, properties.stop):
        if kind == b"ipma":
            table = _Reader(data[box])
            version, flags = table.number(1), table.number(3)
            index_size, index_bits = (2, 0x7FFF) if flags & 1 else (1, 0x7F)
            for _ in range(table.number(4)):
                item = table.number(4 if version else 2)
                for _ in range(table.number(1)):
                    index = table.number(index_size) & index_bits  # counts from 1
                    size = sizes[index - 1] if index else 0
                    declared[item] = max(declared.get(item, 0), size)
    return declared


def _items(data: bytes, boxes: dict[bytes, slice]) -> Iterator[tuple[bytes, bytes]]:
    """Yields the type and the bytes of each item (ISO/IEC 14496-12, 8.11.3 and 8.11.6)."""
    kinds = {}
    infos = boxes[b"iinf"]
    first = infos.start + (6 if data[infos.start] == 0 else 8)  # behind version, flags, count
    for box, info in _boxes(data, first, infos.stop):
        if box == b"infe":
            layout = ">HH4s" if data[info.start] == 2 else ">IH4s"
            item, _, kind = struct.unpack_from(layout, data, info.start + 4)
            kinds[item] = kind

    places = _Reader(data[boxes[b"iloc"]])
    version = places.number(1)
    places.number(3)  # flags
    sizes = places.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> s & 15 for s in (12, 8, 4, 0))
    total = parts = 0
    for _ in range(places.number(4 if version == 2 else 2)):
        item = places.number(4 if version == 2 else 2)
        in_directory = version > 0 and places.number(2) & 15 == 1  # construction method: idat
        places.number(2)  # data reference
        base = places.number(base_size) + (boxes[b"idat"].start if in_directory else 0)
        body = []
        for _ in range(places.number(2)):
            places.number(index_size if version > 0 else 0)
            start = base + places.number(offset_size)
            body.append(data[start : start + places.number(length_size)])
            total += len(body[-1])
            parts += 1
            if total > 2 * len(data) or parts > HEIF_PARTS:
                raise ImageTooLargeError(
                    "The file uses the same bytes many times over or is cut into more than "
                    f"{HEIF_PARTS:,} pieces, the limit here. "
                    "Save it as a JPEG or PNG, then try again."
                )
        yield kinds.get(item, b""), b"".join(body)


class _Reader:
    """Reads big-endian numbers one after the other."""

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
    """Yields the sequence headers among the open bitstream units (AV1, section 5.3)."""
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
        if units > HEIF_PARTS:
            raise ImageTooLargeError(
                f"The AVIF has more than {HEIF_PARTS:,} units of coded data, the limit here. "
                "Save it as a JPEG or PNG, then try again."
            )


def _sequence_pixels(header: bytes) -> int:
    """Reads max_frame_width × max_frame_height (AV1, section 5.5.1)."""
    bits = "".join(f"{byte:08b}" for byte in header[:512])  # the longest have about 300 bytes
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
            if read(1):  # equal intervals, then a number in unary length
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
