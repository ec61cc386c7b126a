"""The single image decoder: bytes in, an upright RGB image out.

Every photo, from every entry point, is decoded by `decode`. Only the data of the first image is
extracted from the file (`containers`), and the limits are checked against its header before any
pixel is decoded. A file of a few kilobytes therefore cannot allocate gigabytes or occupy a
processor for minutes.
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
from vgg_demo.images.semaphore import WeightedSemaphore
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
Image.init()  # Pillow loads most of its plugins lazily

FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Pillow plugins that may read a file; the others never receive untrusted bytes."""

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
"""File name extensions of these formats, for file pickers."""

MIN_SIDE = 16  # pixels; smaller images show nothing that a model could recognize
MAX_SIDE = 65_535
"""Maximum width and height in pixels: the maximum of JPEG and GIF. Pillow's reader of compressed
BMPs writes up to 255 rows beyond the end of the image, which is harmless unless rows are millions
of pixels long."""
MAX_RLE_PIXELS = 4_000_000
"""Lower limit for compressed BMPs, because Pillow decodes them in Python, byte by byte. They are
old icons and drawings; the compression is useless for photos."""
DRAFT_PIXELS = 16_000_000
"""JPEGs with more pixels are decoded at 1/2, 1/4 or 1/8 of their size …"""
DRAFT_SIDE = 1_600
"""… as long as both sides keep at least this many pixels: over twice the largest model input."""

_DECODE_SEMAPHORE = WeightedSemaphore(50_000_000)
"""Maximum number of pixels that all threads together decode at a time. For WebP, they take 820 MB
of memory."""


def read_file(path: str, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """Returns the bytes of a file, at most one byte more than the limit.

    Raises:
        FileUnreadableError: If the path cannot be opened or is not a regular file.
    """
    try:
        # Checked before opening, because opening a device can have side effects, and after
        # opening, because the file may have been replaced in between.
        _check_regular(path, Path(path).stat())
        with open(path, "rb", opener=_open_nonblocking) as file:
            _check_regular(path, os.fstat(file.fileno()))
            return file.read(limits.size_bytes + 1) or b""  # None: no data available right now
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
        file_type = "a folder"
    elif stat.S_ISFIFO(status.st_mode):
        file_type = "a pipe"
    else:
        file_type = "a device or a socket"
    raise FileUnreadableError(
        f"Cannot read {path!r}: it is {file_type}, not a regular file. Provide the path of a photo"
        + ("; `vgg-demo batch` accepts folders." if file_type == "a folder" else ".")
    )


def _open_nonblocking(path: str, flags: int) -> int:
    """Opens a file without waiting for the other end of a pipe (Windows has no such pipes)."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def decode(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decodes an image file to an upright RGB image.

    Uses the first frame of an animation, applies the EXIF orientation, composites transparency
    over white, and converts every color mode (CMYK, palette, grayscale, 16-bit) to RGB
    (`color.to_rgb`). Color profiles are ignored, as in Keras.

    Args:
        data: Bytes of a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF file.
        limits: Maximum size of the image.

    Returns:
        An image of mode "RGB". JPEGs with more than `DRAFT_PIXELS` pixels are decoded at a
        fraction of their size.

    Raises:
        ImageTooLargeError: If the file or the image exceeds the limits.
        ImageTooSmallError: If a side is shorter than `MIN_SIDE` pixels.
        NotAnImageError: If the bytes are not in a supported format.
        ImageCorruptError: If the file is damaged or truncated.
    """
    if not data:
        raise NotAnImageError("The file is empty (0 bytes). Choose a photo.")
    if len(data) > limits.size_bytes:
        # `read_file` stops one byte after the limit, so the actual size is unknown then.
        limit, is_size_known = limits.size_bytes / 2**20, len(data) > limits.size_bytes + 1
        size = f"{len(data) / 2**20:,.2f} MB" if is_size_known else f"more than {limit:.0f} MB"
        raise ImageTooLargeError(
            f"The file size is {size}; the limit is {limit:.0f} MB. "
            "Save the photo at a smaller size or as a JPEG, then try again."
        )
    stripped = containers.strip_metadata(data)
    image = _open(stripped.data, limits)
    _check_size(image, limits)
    # A progressive JPEG is in memory at full size before its first pixel can be read.
    is_progressive = "progressive" in image.info
    full_pixels = image.width * image.height
    if image.format in ("JPEG", "MPO") and full_pixels > DRAFT_PIXELS:
        # libjpeg decodes at 1/2, 1/4 or 1/8 in a fraction of the time and memory.
        image.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
    with _DECODE_SEMAPHORE.acquire(full_pixels if is_progressive else image.width * image.height):
        return _decode_pixels(image, stripped.orientation)


def _decode_pixels(image: Image.Image, orientation: int | None) -> Image.Image:
    if image.format == "AVIF":  # Pillow reports the rotation of the container as EXIF
        orientation = exif_orientation(image.info.get("exif", b"")) or 1
    try:
        image.load()
        # Keep the pixels only: the WebP and AVIF readers hold several times their memory.
        image = image._new(image.im)
        image = to_rgb(image)
        return apply_orientation(image, orientation)
    # Pillow's decoders raise many different exceptions for damaged files. All of them are caused
    # by the file, so the message is about the file.
    except MemoryError:
        raise
    except Exception as error:
        raise ImageCorruptError(
            f"The image is damaged or incomplete ({_short(error)}). "
            "Copy or download it again, then try again."
        ) from error


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        if pixel_format := containers.tiff_pixels(data):
            raise NotAnImageError(
                f"This TIFF has an unsupported pixel format ({pixel_format}). "
                "Save it with 8 bits per color, or as a JPEG or PNG, then try again."
            ) from error
        raise NotAnImageError(
            "This is not an image in a supported format. "
            "Choose a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF file."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"The image has far more than {limits.pixels / 1e6:.0f} megapixels, which is the "
            "limit. Resize it, then try again."
        ) from error
    except MemoryError:
        raise
    # As in `_decode_pixels`: a damaged header can raise almost any exception.
    except Exception as error:
        raise ImageCorruptError(
            f"The header of the image is damaged ({_short(error)}). "
            "Copy or download it again, then try again."
        ) from error


def _check_size(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    pixels = limits.pixels
    if image.format == "BMP" and image.info.get("compression") in (1, 2):  # RLE8, RLE4
        pixels = min(pixels, MAX_RLE_PIXELS)
    if width * height > pixels:
        raise ImageTooLargeError(
            f"The image is {width:,} × {height:,} pixels ({width * height / 1e6:,.0f} "
            f"megapixels); the limit is {pixels / 1e6:.0f} megapixels"
            f"{' for compressed BMP' if pixels < limits.pixels else ''}. "
            "Resize it, then try again."
        )
    if max(width, height) > MAX_SIDE:
        raise ImageTooLargeError(
            f"The image is {width:,} × {height:,} pixels; the limit is {MAX_SIDE:,} per side. "
            "Crop or resize it, then try again."
        )
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmallError(
            f"The image is {width:,} × {height:,} pixels; classification requires at "
            f"least {MIN_SIDE} × {MIN_SIDE}. Choose a larger image."
        )


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text[:120].rstrip(".")
