"""Malicious files that cost far more than their size are rejected or stripped of metadata."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from vgg_demo.errors import ImageCorruptError, ImageTooLargeError, NotAnImageError
from vgg_demo.images.containers import exif_orientation, strip_metadata
from vgg_demo.images.containers.jpeg import MAX_SCANS, MAX_SEGMENTS
from vgg_demo.images.containers.tiff import MAX_TAG_VALUES
from vgg_demo.images.decode import MAX_SIDE, decode

Encode = Callable[..., bytes]
ORIENTATION = 0x0112
IMAGE = Image.linear_gradient("L").convert("RGB").resize((96, 64))


def chunk(chunk_type: bytes, body: bytes) -> bytes:
    """Returns a PNG chunk."""
    checksum = zlib.crc32(chunk_type + body)
    return struct.pack(">I", len(body)) + chunk_type + body + struct.pack(">I", checksum)


def segment(marker: int, body: bytes) -> bytes:
    """Returns a JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def tiff(tags: dict[int, tuple[int, int, int]], body: bytes = b"") -> bytes:
    """Returns a TIFF with tags (type, count, value or offset) and `body` at offset 8."""
    entries = [struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags)]
    directory = struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory


GRAY_TIFF = {
    256: (4, 1, 64),
    257: (4, 1, 64),
    258: (3, 1, 8),
    259: (3, 1, 1),
    262: (3, 1, 1),
    273: (4, 1, 8),
    277: (3, 1, 1),
    278: (4, 1, 64),
    279: (4, 1, 4096),
}
SHARED_TAGS = {40_000 + i: (1, 2**20 - 1, 1) for i in range(3000)}  # 3 GB in a file of 1 MB


def exif_with_shared_values() -> bytes:
    return tiff(SHARED_TAGS, bytes(2**20))


def bmp(width: int, height: int, body: bytes) -> bytes:
    """Returns a BMP with RLE8 compression and a black palette."""
    start = 14 + 40 + 4 * 256
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 0, 0)
    return (
        b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + bytes(1024) + body
    )


def insert_after_start(data: bytes, insertion: bytes) -> bytes:
    """Inserts segments after the first marker of a JPEG, or chunks after the first of a PNG."""
    start = 33 if data.startswith(b"\x89PNG") else 2
    return data[:start] + insertion + data[start:]


def jpeg_with_scans(count: int, side: int) -> bytes:
    """Returns a progressive JPEG in which every scan covers all blocks."""
    scan = segment(0xDA, bytes([1, 1, 0, 1, 63, 0x10])) + b"\0\0"
    return b"".join(
        (
            b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64),
            segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0"),
            segment(0xC4, b"\x00\x01" + bytes(15) + b"\0"),
            segment(0xC4, b"\x10\x01" + bytes(15) + b"\xe0"),
            segment(0xDA, b"\1\1\0\0\0\1") + bytes(side * side // 512 + 1),
            scan * (count - 1) + b"\xff\xd9",
        )
    )


def avif_declaring_less(encode: Encode, coded: int, declared: int) -> bytes:
    """Returns an AVIF that declares a smaller width than that of its AV1 data."""
    data = encode(Image.new("RGB", (coded, 64)), "AVIF", speed=10, quality=10)
    return data.replace(struct.pack(">II", coded, 64), struct.pack(">II", declared, 64))


# ── Metadata is stripped ─────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def malicious(encode: Encode) -> dict[str, bytes]:
    """Valid images with metadata that takes gigabytes or minutes to read."""
    exif = exif_with_shared_values()
    parts = [exif[i : i + 65_000] for i in range(0, len(exif), 65_000)]
    jpeg, png, gif = (encode(IMAGE, name) for name in ("JPEG", "PNG", "GIF"))
    colors = 13 + (6 << (gif[10] & 7))
    comments = b"!\xfe\x01x\0" * 40_000
    long_comment = b"!\xfe" + b"\x01x" * 90_000 + b"\0"
    index = b"MPF\0" + tiff({40_000 + i: (1, 60_000, 8) for i in range(3000)}, bytes(20_000))
    return {
        "EXIF of a JPEG": insert_after_start(
            jpeg, b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts)
        ),
        "index of an MPO": insert_after_start(jpeg, segment(0xE2, index)),
        "fill bytes of a JPEG": insert_after_start(jpeg, b"\xff" * 3_000_000),
        "EXIF of a PNG": insert_after_start(png, chunk(b"eXIf", exif)),
        "texts of a PNG": insert_after_start(
            png, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**20))) * 65
        ),
        "chunks of a PNG": insert_after_start(png, chunk(b"teXt", b"") * 90_000),
        "empty pixels of a PNG": insert_after_start(png, chunk(b"IDAT", b"") * 90_000),
        "EXIF of a WebP": encode(IMAGE, "WEBP", exif=exif),
        "comments of a GIF": gif[:colors] + comments + gif[colors:],
        "comment of a GIF": gif[:colors] + long_comment + gif[colors:],
        "tags of a TIFF": tiff(GRAY_TIFF | SHARED_TAGS, bytes(2**20)),
        "EXIF of a TIFF": tiff(
            GRAY_TIFF | {0x8769: (4, 1, 4104)},
            bytes(4096) + struct.pack("<HHHIII", 1, 0x829A, 5, 10**6, 8, 0) + bytes(8 * 10**6),
        ),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("EXIF of a JPEG", "index of an MPO", "fill bytes of a JPEG"),
        *("EXIF of a PNG", "texts of a PNG", "chunks of a PNG", "empty pixels of a PNG"),
        *("EXIF of a WebP", "comments of a GIF", "comment of a GIF"),
    ],
)
def test_metadata_is_stripped(malicious: dict[str, bytes], encode: Encode, name: str) -> None:
    data = malicious[name]
    image_format = name.rsplit(maxsplit=1)[-1].replace("MPO", "JPEG")
    stripped = strip_metadata(data).data
    assert len(stripped) <= len(encode(IMAGE, image_format)) + 100
    assert np.array_equal(decode(data), decode(encode(IMAGE, image_format)))


@pytest.mark.parametrize("name", ["tags of a TIFF", "EXIF of a TIFF"])
def test_tiff_metadata_is_stripped(malicious: dict[str, bytes], name: str) -> None:
    with Image.open(io.BytesIO(strip_metadata(malicious[name]).data)) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        assert set(image.tag_v2) == set(GRAY_TIFF)
    assert decode(malicious[name]).size == (64, 64)


def test_exif_of_an_avif_is_hidden_from_pillow(encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    data = encode(IMAGE, "AVIF", exif=exif.tobytes())
    assert b"a description" in data
    with Image.open(io.BytesIO(strip_metadata(data).data)) as image:
        assert "exif" not in image.info
    assert decode(data).size == IMAGE.size


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_malicious_metadata_requires_little_memory(
    malicious: dict[str, bytes], encode: Encode, tmp_path: Path
) -> None:
    """Decodes in a process with 1 GB of address space, of which Python and NumPy use a third."""
    for number, data in enumerate(malicious.values()):
        (tmp_path / f"{number}").write_bytes(data)
    program = """
import json, os, pathlib, resource, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
from vgg_demo.images.decode import decode
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
print(json.dumps([decode(file.read_bytes()).mode for file in pathlib.Path(sys.argv[1]).iterdir()]))
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == ["RGB"] * len(malicious)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_gif_disposal_allocates_nothing() -> None:
    """Pillow would allocate 13,000 × 13,000 pixels before the size can be checked."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0, 0, 0)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 13_000, 13_000, 0) + b"\x02\x02\x4c\x01\0;"
    stripped = strip_metadata(screen + b"!\xf9\x04\x08\0\0\0\0" + frame).data
    assert stripped == screen + b"!\xf9\x04\0\0\0\0\0" + frame
    with pytest.raises(ImageTooLargeError, match="13,000 × 13,000"):
        decode(stripped)


# ── The cost of pixel data is limited ────────────────────────────────────────────────────


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("type_code", [4, 9, 16], ids=["LONG", "SLONG", "LONG8"])
def test_tiff_tiles_far_larger_than_the_image_are_rejected(
    compression: int, type_code: int
) -> None:
    tiled = {tag: GRAY_TIFF[tag] for tag in (256, 257, 258, 262, 277)} | {
        259: (3, 1, compression),
        322: (type_code, 1, 30_000 if type_code != 16 else 8),
        323: (type_code, 1, 30_000 if type_code != 16 else 8),
        324: (4, 1, 8),
        325: (4, 1, 100),
    }
    with pytest.raises(ImageTooLargeError, match=r"tiles of 900 megapixels.*limit is 17"):
        decode(tiff(tiled, struct.pack("<Q", 30_000) + bytes(100)))


def test_tiff_with_too_many_strips_is_rejected() -> None:
    count = MAX_TAG_VALUES + 1
    strips = GRAY_TIFF | {257: (4, 1, count), 273: (4, count, 8), 278: (4, 1, 1)}
    with pytest.raises(ImageTooLargeError, match=r"262,145 values.*limit is 262,144"):
        decode(tiff(strips, bytes(4 * count)))


def test_tiff_directory_outside_the_file_is_corrupt() -> None:
    with pytest.raises(ImageCorruptError, match="directory is damaged"):
        decode(b"II*\0\xff\xff\xff\xff" + bytes(50))


def test_huge_compressed_bmps_are_rejected() -> None:
    with pytest.raises(ImageTooLargeError, match="limit is 4 megapixels for compressed BMP"):
        decode(bmp(3_000_000, 16, b"\0\2\xff\xff"))
    with pytest.raises(ImageTooLargeError, match="limit is 65,535 per side"):
        decode(bmp(MAX_SIDE + 1, 16, b"\0\2\xff\xff"))


def test_compressed_bmp_of_normal_size_is_decoded() -> None:
    assert decode(bmp(64, 32, b"\x40\x00\0\0" * 32 + b"\0\1")).size == (64, 32)


def test_large_jpeg_with_too_many_scans_is_rejected() -> None:
    assert strip_metadata(jpeg_with_scans(MAX_SCANS, 7000)).orientation == 1
    with pytest.raises(ImageTooLargeError, match="26 scans; the limit is 25"):
        decode(jpeg_with_scans(MAX_SCANS + 1, 7000))


def test_small_jpeg_may_have_more_scans() -> None:
    assert decode(jpeg_with_scans(200, 500)).size == (500, 500)


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "WEBP"])
def test_too_many_blocks_are_rejected(encode: Encode, image_format: str) -> None:
    data = encode(IMAGE, image_format)
    start = {"PNG": 33, "GIF": 13 + (6 << (data[10] & 7)), "WEBP": 12}[image_format]
    block = {"PNG": chunk(b"teXt", b""), "GIF": b"!\xfe\0", "WEBP": b"free" + bytes(4)}
    with pytest.raises(ImageTooLargeError, match="more than 100,000 blocks, which is the limit"):
        decode(data[:start] + block[image_format] * 100_001 + data[start:])


def test_jpeg_with_too_many_segments_is_rejected(encode: Encode) -> None:
    data = insert_after_start(encode(IMAGE, "JPEG"), segment(0xE5, b"") * MAX_SEGMENTS)
    with pytest.raises(ImageTooLargeError, match="10,000 segments, which is the limit"):
        decode(data)


def test_avif_that_codes_more_pixels_than_declared_is_rejected(encode: Encode, monkeypatch) -> None:
    data = avif_declaring_less(encode, coded=4096, declared=64)
    assert decode(data).size == (64, 64)  # libavif scales the decoded image
    monkeypatch.setattr("vgg_demo.images.containers.heif.MAX_PIXELS", 4096 * 64 - 1)
    with pytest.raises(ImageTooLargeError, match="0 megapixels in total; the limit is 0"):
        decode(data)


def test_heif_grid_larger_than_declared_is_rejected(encode: Encode) -> None:
    data = encode(Image.new("RGB", (128, 128)), "HEIF", tile_size=64)
    huge = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(ImageTooLargeError, match="3,600 megapixels in total; the limit is 100"):
        decode(data.replace(struct.pack(">HH", 128, 128), huge))


def test_heif_grid_with_tiles_mostly_outside_it_is_rejected(encode: Encode) -> None:
    """libheif decodes each tile completely, however little of it the image uses."""
    data = encode(Image.new("RGB", (256, 256)), "HEIF", tile_size=64, quality=10)
    for field, old, new in (">HH", 256, 64), (">II", 256, 64), (">II", 64, 2560):
        data = data.replace(struct.pack(field, old, old), struct.pack(field, new, new))
    with pytest.raises(ImageTooLargeError, match="105 megapixels in total; the limit is 100"):
        decode(data)


def extend_box(data: bytes, box_type: bytes, insertion: bytes, *parents: bytes) -> bytes:
    """Appends bytes to a box and updates its size and the sizes of its parents."""
    box = data.index(box_type) - 4
    end = box + struct.unpack_from(">I", data, box)[0]
    data = data[:end] + insertion + data[end:]
    for name in (box_type, *parents):
        start = data.index(name) - 4
        size = struct.unpack_from(">I", data, start)[0] + len(insertion)
        data = data[:start] + struct.pack(">I", size) + data[start + 4 :]
    return data


def test_heif_items_that_share_bytes_are_rejected(encode: Encode) -> None:
    data = encode(IMAGE, "AVIF")
    iloc = data.index(b"iloc")
    data = extend_box(data, b"iloc", data[iloc + 12 : iloc + 26] * 300, b"meta")
    data = data[: iloc + 10] + struct.pack(">H", 301) + data[iloc + 12 :]
    with pytest.raises(ImageTooLargeError, match="same bytes many times"):
        decode(data)


def test_heif_tables_that_libavif_searches_for_hours_are_rejected(encode: Encode) -> None:
    item = struct.pack(">I4sIHH4sB", 21, b"infe", 2 << 24, 2, 0, b"skip", 0)
    with pytest.raises(ImageTooLargeError, match=r"table.*the limit is 131,072"):
        decode(extend_box(encode(IMAGE, "AVIF"), b"iinf", item * 10_000, b"meta"))


def test_heif_with_too_many_properties_is_corrupt(encode: Encode) -> None:
    empty = struct.pack(">I4s", 8, b"free")
    with pytest.raises(ImageCorruptError, match="directory is damaged"):
        decode(extend_box(encode(IMAGE, "AVIF"), b"ipco", empty * 20_000, b"iprp", b"meta"))


# ── Ordinary files are decoded ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_tiffs_of_every_mode_are_decoded(encode: Encode, mode: str, big: bool) -> None:
    source = IMAGE.convert("L").convert("I").convert(mode) if mode == "I;16" else IMAGE
    source = source.convert(mode)
    for compression in (None, "tiff_lzw"):
        data = encode(source, "TIFF", compression=compression, big_tiff=big)
        assert decode(data).size == IMAGE.size


def test_profiles_thumbnails_and_frames_do_not_change_the_result(encode: Encode) -> None:
    photoshop = b"Photoshop 3.0\0" + bytes(60_000)
    metadata = {"icc_profile": bytes(500_000), "xmp": b" " * 60_000}
    data = encode(IMAGE, "JPEG", progressive=True, **metadata)
    data = insert_after_start(data, segment(0xED, photoshop) * 20)
    assert np.array_equal(decode(data), decode(encode(IMAGE, "JPEG", progressive=True)))
    for image_format in ("MPO", "GIF", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"):
        first, *other_frames = (IMAGE.rotate(angle) for angle in range(40))
        data = encode(first, image_format, save_all=True, append_images=other_frames)
        difference = np.asarray(decode(data), int) - np.asarray(IMAGE, int)
        assert np.abs(difference).mean() < 6


# ── Orientation ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("type_code", "value"),
    [(1, b"\6"), (2, b"6\0"), (3, b"\6\0"), (4, b"\6\0\0\0"), (7, b"\6"), (8, b"\6\0")],
)
def test_orientation_of_every_type_is_read(type_code: int, value: bytes) -> None:
    entry = struct.pack("<HHI4s", ORIENTATION, type_code, 1, value)
    assert exif_orientation(b"Exif\0\0II*\0\x08\0\0\0\1\0" + entry + bytes(4)) == 6


def test_orientation_before_a_damaged_tag_is_read(encode: Encode) -> None:
    tags = struct.pack("<HHII", ORIENTATION, 3, 1, 6) + struct.pack(
        "<HHII", 0x8769, 4, 9, 2**32 - 1
    )
    data = encode(IMAGE, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\2\0" + tags)
    assert decode(data).size == (64, 96)


def test_repeated_exif_headers_and_tags_are_harmless() -> None:
    assert exif_orientation(b"Exif\0\0" * 100_000) is None
    xmp = struct.pack("<HHII", 700, 1, 2**20, 8) * 60_000
    data = b"II*\0" + struct.pack("<I", 8 + 2**20) + bytes(2**20) + struct.pack("<H", 60_000) + xmp
    with pytest.raises(NotAnImageError, match="not an image in a supported format"):
        decode(data)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_invalid_orientation_is_ignored(encode: Encode, value: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    assert decode(encode(IMAGE, "JPEG", exif=exif.tobytes())).size == IMAGE.size


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_from_xmp_is_applied(encode: Encode, image_format: str) -> None:
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    options: dict[str, object] = {"xmp": xmp}
    if image_format == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options = {"pnginfo": info}
    if image_format == "TIFF":
        options = {"tiffinfo": {700: xmp}}
    assert decode(encode(IMAGE.copy(), image_format, **options)).size == (64, 96)


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_container_rotation_is_applied_once(
    encode: Encode, image_format: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    expected = decode(encode(IMAGE, "PNG", exif=exif))
    image = decode(encode(IMAGE, image_format, exif=exif.tobytes(), quality=95))
    assert image.size == expected.size
    assert np.abs(np.asarray(image, int) - np.asarray(expected, int)).mean() < 4


def test_message_describes_an_unsupported_float_tiff() -> None:
    color = GRAY_TIFF | {
        258: (3, 3, 8),
        262: (3, 1, 2),
        273: (4, 1, 20),
        277: (3, 1, 3),
        279: (4, 1, 64 * 64 * 12),
        339: (3, 3, 14),
    }
    body = struct.pack("<6H", 32, 32, 32, 3, 3, 3) + bytes(64 * 64 * 12)
    with pytest.raises(NotAnImageError, match=r"3 × 32 bits, floating point.*8 bits per color"):
        decode(tiff(color, body))
