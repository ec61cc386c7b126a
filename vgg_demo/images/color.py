"""From every colour mode to RGB."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

BAND_PIXELS = 1_000_000
"""Colours are converted in bands of about so many pixels, because whole copies of a large
picture, in between, would take several times its memory."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns an image of mode "RGB", transparency laid over white.

    Greys of 16 bits are scaled from 0..65,535 to 0..255; those that have no natural white
    (signed, 32 bits, floating point) from their own smallest and largest finite values,
    where NaN becomes black.

    Args:
        image: Of any mode that Pillow can convert (CMYK, palette, grey …), loaded.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    is_grey = image.mode[0] in "IF"  # more than 8 bits; Pillow's own `convert` would clip them
    black, white = _grey_range(image) if is_grey else (0.0, 255.0)
    rgb = Image.new("RGB", image.size, "white")
    for top, band in _bands(image):
        if is_grey:
            rgb.paste(_to_8_bits(band, black, white), (0, top))
        elif band.has_transparency_data:
            rgba = band.convert("RGBA")
            rgb.paste(rgba, (0, top), mask=rgba)
        else:
            rgb.paste(band.convert("RGB"), (0, top))
    return rgb


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _grey_range(image: Image.Image) -> tuple[float, float]:
    if image.mode.startswith("I;16"):
        return 0.0, 65_535.0
    ends = []
    for _, band in _bands(image):
        values = np.asarray(band)
        finite = values[np.isfinite(values)]
        if finite.size:
            ends += [float(finite.min()), float(finite.max())]
    return min(ends, default=0.0), max(ends, default=0.0)


def _to_8_bits(image: Image.Image, black: float, white: float) -> Image.Image:
    values = np.nan_to_num(
        np.asarray(image, dtype=np.float64), nan=black, posinf=white, neginf=black
    )
    scale = 255 / (white - black) if white > black else 0.0
    return Image.fromarray(np.rint((values - black) * scale).astype(np.uint8))
