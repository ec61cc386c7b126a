"""A photo that was opened: its pixels, and what is needed to know it again."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from PIL import Image

from vgg_demo.images.decode import decode
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded photo. Open it once; any number of models can look at it.

    Attributes:
        file: Its name, as it was given.
        sha256: Of its bytes, 64 hex digits.
        image: Its pixels: upright, of mode "RGB". Not to be changed.
        seconds: What decoding took.
    """

    file: str
    sha256: str
    image: Image.Image
    seconds: float


def open_photo(data: bytes, *, file: str = "", limits: ImageLimits = DEFAULT_LIMITS) -> Photo:
    """Decodes a photo.

    Args:
        data: Its bytes, as they came.
        file: Its name.
        limits: What a picture may be at most.

    Raises:
        ImageError: If the picture cannot be used.
    """
    started = time.perf_counter()
    image = decode(data, limits)
    seconds = time.perf_counter() - started
    return Photo(file, hashlib.sha256(data).hexdigest(), image, seconds)
