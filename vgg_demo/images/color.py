"""Converts every color mode to RGB."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

BAND_PIXELS = 1_000_000
"""Approximate pixels of each band in which colors are converted. Intermediate copies of a whole
large image would take several times its memory."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns an image of mode "RGB" with transparency composited over white.

    16-bit grayscale is scaled from [0, 65,535] to [0, 255]. Grayscale modes without a defined
    white (signed, 32-bit, floating-point) are scaled from their own smallest and largest finite
    values; NaN becomes black.

    Args:
        image: A loaded image of any mode that Pillow can convert (CMYK, palette, grayscale, …).
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    is_gray = image.mode[0] in "IF"  # more than 8 bits; Pillow's own `convert` would clip them
    black, white = _gray_range(image) if is_gray else (0.0, 255.0)
    rgb = Image.new("RGB", image.size, "white")
    for top, band in _bands(image):
        if is_gray:
            rgb.paste(_to_8_bits(band, black, white), (0, top))
        elif band.has_transparency_data:
            rgba = band.convert("RGBA")
            rgb.paste(rgba, (0, top), mask=rgba)
        else:
            rgb.paste(band.convert("RGB"), (0, top))
    return rgb


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yields horizontal bands of an image, each with its top row."""
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _gray_range(image: Image.Image) -> tuple[float, float]:
    """Returns the values that become black and white."""
    if image.mode.startswith("I;16"):
        return 0.0, 65_535.0
    extremes = []
    for _, band in _bands(image):
        values = np.asarray(band)
        finite = values[np.isfinite(values)]
        if finite.size:
            extremes += [float(finite.min()), float(finite.max())]
    return min(extremes, default=0.0), max(extremes, default=0.0)


def _to_8_bits(image: Image.Image, black: float, white: float) -> Image.Image:
    values = np.nan_to_num(
        np.asarray(image, dtype=np.float64), nan=black, posinf=white, neginf=black
    )
    scale = 255 / (white - black) if white > black else 0.0
    return Image.fromarray(np.rint((values - black) * scale).astype(np.uint8))
