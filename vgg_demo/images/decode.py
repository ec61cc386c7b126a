"""The one gate for pixels: bytes in, an upright RGB image out.

Every photo, from every door, comes through `decode`. Only what the first picture needs is
taken out of the file (`containers`), and the limits are checked against its header before
a single pixel is decoded, so a file of a few kilobytes cannot make the program allocate
gigabytes or think for minutes.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pillow_heif
from PIL import Image, UnidentifiedImageError

from vgg_demo.errors import (
    FileUnreadableError,
    ImageCorruptError,
    ImageTooLargeError,
    ImageTooSmallError,
    NotAnImageError,
)
from vgg_demo.images import containers
from vgg_demo.images.color import to_rgb
from vgg_demo.images.orientation import apply_orientation, exif_orientation
from vgg_demo.images.quota import Quota
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
Image.init()  # Pillow loads most of its readers only when asked

FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What Pillow may try to read; its other readers are never given a stranger's bytes."""

SUFFIXES = (
    "jpg",
    "jpeg",
    "jfif",
    "png",
    "webp",
    "gif",
    "bmp",
    "tif",
    "tiff",
    "heic",
    "heif",
    "avif",
)
"""File name endings of those formats, for file pickers."""

MIN_SIDE = 16  # pixels; below, there is nothing to recognise
MAX_SIDE = 65_535
"""Pixels; as much as JPEG and GIF can say. Pillow's reader of compressed BMPs fills up to 255
rows beyond the picture's end, which is nothing unless rows are millions of pixels long."""
RLE_PIXELS = 4_000_000
"""Compressed BMPs may have fewer pixels: Pillow unpacks them in Python, byte by byte. They
are icons and drawings of the nineties; photos do not gain from that compression."""
DRAFT_PIXELS = 16_000_000
"""JPEGs of more pixels are decoded at a half, a quarter or an eighth of their size …"""
DRAFT_SIDE = 1_600
"""… that leaves both sides at least this long: over twice the largest model input."""


_PIXELS_BEING_DECODED = Quota(50_000_000)
"""Pixels that all threads together decode at a time: in a WebP, so many take 820 MB."""


def read_file(path: str, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """Returns the bytes of a file, at most one more than the limit allows.

    Raises:
        FileUnreadableError: If the path cannot be opened or is no regular file.
    """
    try:
        # Looked at before it is opened, since opening a device can set something off, and
        # after, since it may have been exchanged meanwhile.
        _check_regular(path, Path(path).stat())
        with open(path, "rb", opener=_open_at_once) as file:
            _check_regular(path, os.fstat(file.fileno()))
            return file.read(limits.size_bytes + 1) or b""  # None: nothing to read right now
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileUnreadableError(
            f"Cannot read {path!r}: {reason}. Check the path and its permissions."
        ) from error
    except ValueError as error:  # a NUL byte in the path
        raise FileUnreadableError(f"Cannot read {path!r}: {error}.") from error


def _check_regular(path: str, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        kind = "a folder"
    elif stat.S_ISFIFO(status.st_mode):
        kind = "a pipe"
    else:
        kind = "a device or a socket"
    raise FileUnreadableError(
        f"Cannot read {path!r}: it is {kind}; only ordinary files are read. Give the path of one"
        + ("; `vgg-demo batch` takes folders." if kind == "a folder" else ".")
    )


def _open_at_once(path: str, flags: int) -> int:
    """Opens without waiting for the other end of a pipe; Windows has no such pipes."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def decode(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decodes a picture and turns it upright.

    The first frame of an animation is taken, the EXIF orientation applied, transparency
    laid over white, and every colour mode (CMYK, palette, grey, 16 bits) becomes RGB
    (`colors.to_rgb`). Colour profiles are ignored, as Keras ignores them.

    Args:
        data: A file's bytes: JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF.
        limits: What is accepted at most.

    Returns:
        An image of mode "RGB". JPEGs of more than `DRAFT_PIXELS` come at a fraction of
        their size.

    Raises:
        ImageTooLargeError: If the file or the picture exceeds the limits.
        ImageTooSmallError: If a side is shorter than `MIN_SIDE` pixels.
        NotAnImageError: If the bytes are in none of the formats.
        ImageCorruptError: If the file is damaged or cut off.
    """
    if not data:
        raise NotAnImageError("The file is empty (0 bytes). Choose a photo.")
    if len(data) > limits.size_bytes:
        # `read_file` stops one byte behind the limit: then nobody knows how large the file is.
        limit, known = limits.size_bytes / 2**20, len(data) > limits.size_bytes + 1
        came = f"{len(data) / 2**20:,.2f} MB" if known else f"more than {limit:.0f} MB"
        raise ImageTooLargeError(
            f"The file has {came}; the limit here is {limit:.0f} MB. "
            "Save the photo smaller or as a JPEG, then try again."
        )
    picture = containers.strip_metadata(data)
    image = _open(picture.data, limits)
    _check_size(image, limits)
    is_progressive = (
        "progressive" in image.info
    )  # then all of it is in memory before the first pixel
    whole = image.width * image.height
    if image.format in ("JPEG", "MPO") and whole > DRAFT_PIXELS:
        # JPEG can be decoded at 1/2, 1/4 or 1/8 at a fraction of the time and memory.
        image.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
    with _PIXELS_BEING_DECODED.hold(whole if is_progressive else image.width * image.height):
        return _decode_pixels(image, picture.orientation)


def _decode_pixels(image: Image.Image, orientation: int | None) -> Image.Image:
    if image.format == "AVIF":  # Pillow says as EXIF which way the container turns the picture
        orientation = exif_orientation(image.info.get("exif", b"")) or 1
    try:
        image.load()
        # The pixels alone: the readers of WebP and AVIF hold several times their memory.
        image = image._new(image.im)
        image = to_rgb(image)
        return apply_orientation(image, orientation)
    # Pillow's decoders report damage through many types; whatever a damaged file makes
    # them raise here is the file's fault, and the person must be told about the file.
    except MemoryError:
        raise
    except Exception as error:
        raise ImageCorruptError(
            f"The picture is damaged or cut off ({_short(error)}). "
            "Copy or download it again, then try again."
        ) from error


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        if kind := containers.tiff_pixels(data):
            raise NotAnImageError(
                f"This TIFF stores its pixels in a way that cannot be read here ({kind}). "
                "Save it with 8 bits per colour, or as a JPEG or PNG, then try again."
            ) from error
        raise NotAnImageError(
            "This is not a picture that can be read here. "
            "Choose a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF file."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"The picture says it has far more than {limits.pixels / 1e6:.0f} megapixels, "
            "the limit here. Scale it down, then try again."
        ) from error
    except MemoryError:
        raise
    # As below: a header so damaged that the format's reader gives up, in whatever way.
    except Exception as error:
        raise ImageCorruptError(
            f"The picture's header is damaged ({_short(error)}). "
            "Copy or download it again, then try again."
        ) from error


def _check_size(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    pixels = limits.pixels
    if image.format == "BMP" and image.info.get("compression") in (1, 2):  # RLE8, RLE4
        pixels = min(pixels, RLE_PIXELS)
    if width * height > pixels:
        raise ImageTooLargeError(
            f"The picture has {width:,} × {height:,} pixels ({width * height / 1e6:,.0f} "
            f"megapixels); the limit here is {pixels / 1e6:.0f} megapixels"
            f"{' for compressed BMP' if pixels < limits.pixels else ''}. "
            "Scale it down, then try again."
        )
    if max(width, height) > MAX_SIDE:
        raise ImageTooLargeError(
            f"The picture has {width:,} × {height:,} pixels; the limit here is {MAX_SIDE:,} a "
            "side. Cut it to pieces or scale it down, then try again."
        )
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmallError(
            f"The picture has {width:,} × {height:,} pixels; at least {MIN_SIDE} × {MIN_SIDE} "
            "are needed to recognise anything. Choose a larger one."
        )


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text[:120].rstrip(".")
