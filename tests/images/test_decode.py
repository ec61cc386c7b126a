"""Decoding: every format and orientation is supported, and malicious files are rejected."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from vgg_demo.errors import (
    FileUnreadableError,
    ImageCorruptError,
    ImageError,
    ImageTooLargeError,
    ImageTooSmallError,
    NotAnImageError,
)
from vgg_demo.images.decode import DRAFT_SIDE, decode, read_file
from vgg_demo.limits import ImageLimits

Encode = Callable[..., bytes]
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def cat(photos: dict[str, bytes]) -> Image.Image:
    return Image.open(io.BytesIO(photos["cat"])).convert("RGB")


def difference(a: Image.Image, b: Image.Image) -> float:
    """Returns the mean absolute difference of two images on a scale from 0 to 255."""
    return float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean())


@pytest.mark.parametrize(
    ("image_format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 3),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("GIF", {}, 12),
        ("HEIF", {"quality": 95}, 4),
        ("AVIF", {"quality": 95}, 4),
    ],
)
def test_every_format_is_decoded(
    cat: Image.Image, encode: Encode, image_format: str, options: dict, tolerance: float
) -> None:
    image = decode(encode(cat, image_format, **options))
    assert (image.mode, image.size) == ("RGB", cat.size)
    assert difference(image, cat) <= tolerance


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_rotated_upright(
    cat: Image.Image, encode: Encode, image_format: str, orientation: int
) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = cat.transpose(undo[orientation]) if orientation > 1 else cat
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = decode(encode(stored, image_format, exif=exif.tobytes(), quality=95))
    assert image.size == cat.size
    assert difference(image, cat) < 4


def test_heic_is_rotated_upright(cat: Image.Image, encode: Encode) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = cat.transpose(Image.Transpose.ROTATE_90)
    image = decode(encode(stored, "HEIF", exif=exif.tobytes(), quality=95))
    assert image.size == cat.size
    assert difference(image, cat) < 4


def test_photo_with_invalid_exif_is_decoded(cat: Image.Image, encode: Encode) -> None:
    data = encode(cat, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage")
    assert decode(data).size == cat.size


def test_cmyk_is_converted(cat: Image.Image, encode: Encode) -> None:
    assert difference(decode(encode(cat.convert("CMYK"), "JPEG", quality=95)), cat) < 6


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "PA"])
def test_every_color_mode_becomes_rgb(cat: Image.Image, encode: Encode, mode: str) -> None:
    image_format = "TIFF" if mode == "PA" else "PNG"
    source = cat.convert("P").convert("PA") if mode == "PA" else cat.convert(mode)
    image = decode(encode(source, image_format))
    assert (image.mode, image.size) == ("RGB", cat.size)


def test_transparency_is_composited_over_white(encode: Encode) -> None:
    half = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    half.paste((0, 0, 255, 255), (0, 0, 16, 32))
    image = decode(encode(half, "PNG"))
    assert image.getpixel((4, 16)) == (0, 0, 255)
    assert image.getpixel((28, 16)) == (255, 255, 255)


def test_transparent_palette_is_composited_over_white(encode: Encode) -> None:
    palette = Image.new("P", (32, 32), 0)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert decode(encode(palette, "PNG", transparency=0)).getpixel((5, 5)) == (255, 255, 255)


def test_sixteen_bit_grayscale_is_scaled_not_clipped(encode: Encode) -> None:
    ramp = np.linspace(0, 65_535, 64 * 64).reshape(64, 64).astype(np.uint16)
    image = np.asarray(decode(encode(Image.fromarray(ramp), "PNG")))[..., 0]
    assert np.abs(image - ramp / 257).max() <= 1


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(-1, 1, 4096, dtype=np.float32),
        np.linspace(0, 1e-9, 4096, dtype=np.float32),
        np.linspace(-3e38, 3e38, 4096, dtype=np.float32),
        np.linspace(-(2**31), 2**31 - 1, 4096).astype(np.int32),
        np.linspace(100, 5000, 4096).astype(np.int32),
    ],
)
def test_grayscale_without_a_defined_white_uses_its_own_range(
    encode: Encode, values: np.ndarray
) -> None:
    data = encode(Image.fromarray(values.reshape(64, 64)), "TIFF")
    expected = np.linspace(0, 255, 4096).reshape(64, 64)
    assert np.abs(np.asarray(decode(data))[..., 0] - expected).max() <= 1


@pytest.mark.filterwarnings("error")
def test_nan_and_infinity_do_not_affect_other_pixels(encode: Encode) -> None:
    values = np.linspace(0, 1, 4096, dtype=np.float32).reshape(64, 64)
    values[0, :3] = np.nan, np.inf, -np.inf
    image = np.asarray(decode(encode(Image.fromarray(values), "TIFF")))[..., 0]
    assert image[0, :3].tolist() == [0, 255, 0]
    assert np.abs(image[1:] - values[1:] * 255).max() <= 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_grayscale_with_a_single_value_is_black(encode: Encode, value: float) -> None:
    data = encode(Image.fromarray(np.full((32, 32), value, np.float32)), "TIFF")
    assert decode(data).getextrema() == ((0, 0), (0, 0), (0, 0))


def test_converting_in_bands_leaves_no_seams(
    encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (50, 40, 4), np.uint8)
    data = encode(Image.fromarray(rgba), "PNG")
    whole = decode(data)
    monkeypatch.setattr("vgg_demo.images.color.BAND_PIXELS", 100)
    assert np.array_equal(decode(data), whole)


def test_first_frame_of_an_animation_is_decoded(encode: Encode) -> None:
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "green", "blue")]
    for image_format in ("GIF", "WEBP", "PNG"):
        data = encode(frames[0], image_format, save_all=True, append_images=frames[1:])
        red, green, blue = decode(data).getpixel((5, 5))
        assert red > 200
        assert max(green, blue) < 50


def test_huge_jpegs_are_decoded_at_reduced_size(photos: dict[str, bytes], encode: Encode) -> None:
    large = Image.open(io.BytesIO(photos["dog"])).resize((6000, 5000))
    image = decode(encode(large, "JPEG"))
    assert image.size == (3000, 2500)
    assert min(image.size) >= DRAFT_SIDE
    assert difference(image, large.resize(image.size)) < 3


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", NotAnImageError, "empty"),
        (b"I am text, renamed to .jpg", NotAnImageError, "JPEG, PNG, WebP"),
        (b"%PDF-1.7 ...", NotAnImageError, "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NotAnImageError, "not an image"),
        (b"x" * (20 * 2**20 + 1), ImageTooLargeError, "more than 20 MB; the limit is 20 MB"),
        (b"x" * (25 * 2**20), ImageTooLargeError, "is 25.00 MB; the limit is 20 MB"),
    ],
)
def test_files_that_are_not_photos_are_rejected(
    data: bytes, error: type[ImageError], message: str
) -> None:
    with pytest.raises(error, match=message):
        decode(data)


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.7, 0.98])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF"])
def test_truncated_files_are_rejected(
    cat: Image.Image, encode: Encode, image_format: str, fraction: float
) -> None:
    data = encode(cat, image_format)
    with pytest.raises((ImageCorruptError, NotAnImageError), match=r"again|Choose"):
        decode(data[: int(len(data) * fraction)])


def test_one_pixel_is_too_small(encode: Encode) -> None:
    with pytest.raises(
        ImageTooSmallError, match=r"1 × 1 pixels; classification requires at least 16 × 16"
    ):
        decode(encode(Image.new("RGB", (1, 1)), "PNG"))


def png_header(width: int, height: int) -> bytes:
    """Returns a PNG that declares a size and contains hardly any data."""

    def chunk(chunk_type: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(chunk_type + body)
        return struct.pack(">I", len(body)) + chunk_type + body + struct.pack(">I", checksum)

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\x00" * 100))
        + chunk(b"IEND", b"")
    )


def test_zero_pixels_are_rejected() -> None:
    with pytest.raises(ImageError, match=r"try again|Choose"):
        decode(png_header(0, 0))


def test_header_with_far_too_many_pixels_is_rejected() -> None:
    with pytest.raises(ImageTooLargeError, match="50 megapixels"):
        decode(png_header(50_000, 50_000))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(7_100, 7_100), (10_000, 10_000)])
def test_too_many_pixels_are_rejected(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLargeError, match=rf"{size[0]:,} × {size[1]:,}"):
        decode(png_header(*size))


def test_limits_are_configurable(photos: dict[str, bytes]) -> None:
    with pytest.raises(ImageTooLargeError, match="0 megapixels"):
        decode(photos["cat"], ImageLimits(pixels=1000))


def test_png_is_inflated_only_to_its_declared_size(encode: Encode) -> None:
    """Decodes a small file that would inflate to 200 MB of zeros."""
    bomb = png_header(64, 64)
    start = bomb.index(b"IDAT") - 4
    body = zlib.compress(b"\x00" * 200_000_000, 9)
    idat = b"IDAT" + body
    data = (
        bomb[:start]
        + struct.pack(">I", len(body))
        + idat
        + struct.pack(">I", zlib.crc32(idat))
        + bomb[-12:]
    )
    assert len(data) < 300_000
    assert decode(data).size == (64, 64)


def test_file_extension_is_not_trusted(photos: dict[str, bytes], encode: Encode, tmp_path) -> None:
    path = tmp_path / "really_a_jpeg.png"
    path.write_bytes(photos["dog"])
    assert decode(read_file(str(path))).size == (512, 512)


@pytest.mark.parametrize("path", ["missing.jpg", ".", "bad\0name.jpg"])
def test_unreadable_paths_raise_an_error(path: str) -> None:
    with pytest.raises(FileUnreadableError, match="Cannot read"):
        read_file(path)


def test_reading_stops_after_the_limit(tmp_path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * 5000)
    assert len(read_file(str(path), ImageLimits(size_bytes=1000))) == 1001


def test_decoded_photos_equal_those_decoded_by_pillow(photos: dict[str, bytes]) -> None:
    for data in photos.values():
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        assert np.array_equal(decode(data), expected)
