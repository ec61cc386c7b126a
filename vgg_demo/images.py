"""The one gate for pixels: bytes in, an upright RGB image out.

Every photo, from every door, comes through `decode`. The limits are checked against the
header before a single pixel is decoded, so a file of a few kilobytes cannot make the
program allocate gigabytes.
"""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from vgg_demo.errors import (
    FileUnreadableError,
    ImageCorruptError,
    ImageTooLargeError,
    ImageTooSmallError,
    NotAnImageError,
)

pillow_heif.register_heif_opener()
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
DRAFT_PIXELS = 16_000_000
"""JPEGs of more pixels are decoded at a half, a quarter or an eighth of their size …"""
DRAFT_SIDE = 1_600
"""… that leaves both sides at least this long: over twice the largest model input."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a picture may be at most.

    Attributes:
        size_bytes: Bytes of the file.
        pixels: Width times height.
    """

    size_bytes: int = 20 * 2**20
    pixels: int = 50_000_000


DEFAULT_LIMITS = ImageLimits()


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
        f"Cannot read {path!r}: it is {kind}; only ordinary files are read. Give the path of one."
    )


def _open_at_once(path: str, flags: int) -> int:
    """Opens without waiting for the other end of a pipe; Windows has no such pipes."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def decode(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decodes a picture and turns it upright.

    The first frame of an animation is taken, the EXIF orientation applied, transparency
    laid over white, and every colour mode (CMYK, palette, grey, 16 bits) becomes RGB.
    Colour profiles are ignored, as Keras ignores them.

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
        raise ImageTooLargeError(
            f"The file has more than {limits.size_bytes / 2**20:.0f} MB, the limit here. "
            "Save the photo smaller or as a JPEG, then try again."
        )
    image = _open(data, limits)
    _check_size(image.width, image.height, limits)
    if image.format in ("JPEG", "MPO") and image.width * image.height > DRAFT_PIXELS:
        # JPEG can be decoded at 1/2, 1/4 or 1/8 at a fraction of the time and memory.
        image.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
    try:
        image.load()
        return _to_rgb(_upright(image))
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


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.pixels:
        raise ImageTooLargeError(
            f"The picture has {width:,} × {height:,} pixels ({width * height / 1e6:,.0f} "
            f"megapixels); the limit here is {limits.pixels / 1e6:.0f} megapixels. "
            "Scale it down, then try again."
        )
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmallError(
            f"The picture has {width:,} × {height:,} pixels; at least {MIN_SIDE} × {MIN_SIDE} "
            "are needed to recognise anything. Choose a larger one."
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bits(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scales 16-bit and float greys to 8 bits; Pillow's own `convert` would clip them."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    largest = values.max(initial=0.0)
    if image.mode == "F":
        scale = 255.0 if largest <= 1.0 else 1.0
    else:
        scale = 255.0 / (65_535 if largest <= 65_535 else 2**31 - 1)
    return Image.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF comes in every shape; a photo with a broken one is still a photo
        return image


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text[:120].rstrip(".")
