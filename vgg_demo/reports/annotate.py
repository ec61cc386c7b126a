"""Writes a model's first answer on the photo itself."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont

from vgg_demo.images.photo import Photo
from vgg_demo.inference.results import Classification, percent

MAX_SIDE = 1_600  # pixels; enough for a screen, small enough to send
TEXT_SHARE = 1 / 18
"""Height of the letters over the shorter side of the photo."""


def annotate(image: Image.Image, result: Classification) -> Image.Image:
    """Returns a copy of a photo with the first answer in a band along its lower edge.

    Args:
        image: Upright RGB photo.
        result: What a model made of it.

    Returns:
        RGB image of at most `MAX_SIDE` pixels a side.
    """
    photo = _scaled(image)
    (best,) = result.predictions(1)
    unverified = "" if result.weights.verified else " · unverified weights"
    text = f"{best.label} {percent(best.probability)} · {result.model}{unverified}"
    font, height = _fitting_font(text, photo.width, max(12, int(min(photo.size) * TEXT_SHARE)))
    band = Image.new("RGBA", (photo.width, 2 * height), (15, 23, 42, 215))
    draw = ImageDraw.Draw(band)
    draw.text((height // 2, height), text, fill="white", font=font, anchor="lm")
    photo.paste(band, (0, photo.height - band.height), band)
    return photo


def small_copy(photo: Photo) -> Image.Image:
    """Returns a photo at the size that `annotate` gives it."""
    return _scaled(photo.image)


def _scaled(image: Image.Image) -> Image.Image:
    copy = image.copy()
    copy.thumbnail((MAX_SIDE, MAX_SIDE))
    return copy


def to_png(image: Image.Image) -> bytes:
    """Encodes an image as PNG, without any metadata of the original."""
    clean = image.copy()
    clean.info.clear()
    buffer = io.BytesIO()
    clean.save(buffer, "PNG")
    return buffer.getvalue()


def _fitting_font(
    text: str, width: int, size: int
) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, int]:
    """Returns the largest font up to `size` pixels in which the text fits a line."""
    while True:
        font = ImageFont.load_default(size)
        if size <= 8 or font.getlength(text) + size <= width:
            return font, size
        size -= 1
