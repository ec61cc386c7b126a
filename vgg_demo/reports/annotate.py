"""Annotated photos: the top prediction in a band along the lower edge."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont

from vgg_demo.images.photo import Photo
from vgg_demo.inference.results import Classification, percent

MAX_SIDE = 1_600
"""Maximum width and height in pixels: enough for a screen, small enough to send."""

TEXT_HEIGHT = 1 / 18
"""Font size as a fraction of the shorter side of the photo."""


def annotate(image: Image.Image, result: Classification) -> Image.Image:
    """Returns a copy of a photo with the top prediction in a band along its lower edge.

    Args:
        image: Upright RGB image.
        result: The classification of the photo.

    Returns:
        RGB image of at most `MAX_SIDE` × `MAX_SIDE` pixels.
    """
    photo = _scaled(image)
    (best,) = result.predictions(1)
    unverified = "" if result.weights.verified else " · unverified weights"
    text = f"{best.label} {percent(best.probability)} · {result.model}{unverified}"
    font, height = _fitting_font(text, photo.width, max(12, int(min(photo.size) * TEXT_HEIGHT)))
    band = Image.new("RGBA", (photo.width, 2 * height), (15, 23, 42, 215))
    draw = ImageDraw.Draw(band)
    draw.text((height // 2, height), text, fill="white", font=font, anchor="lm")
    photo.paste(band, (0, photo.height - band.height), band)
    return photo


def downscale(photo: Photo) -> Image.Image:
    """Returns a copy of a photo at the size that `annotate` returns."""
    return _scaled(photo.image)


def _scaled(image: Image.Image) -> Image.Image:
    copy = image.copy()
    copy.thumbnail((MAX_SIDE, MAX_SIDE))
    return copy


def to_png(image: Image.Image) -> bytes:
    """Returns an image as PNG, without the metadata of the original."""
    clean = image.copy()
    clean.info.clear()
    buffer = io.BytesIO()
    clean.save(buffer, "PNG")
    return buffer.getvalue()


def _fitting_font(
    text: str, width: int, size: int
) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, int]:
    """Returns the largest font, and its size, in which the text fits into the width.

    Args:
        text: The text, one line.
        width: Width in pixels.
        size: Maximum font size in pixels.
    """
    while True:
        font = ImageFont.load_default(size)
        if size <= 8 or font.getlength(text) + size <= width:
            return font, size
        size -= 1
