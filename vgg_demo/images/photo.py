"""A decoded photo and its SHA-256."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from PIL import Image

from vgg_demo.images.decode import decode
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded photo. Open it once; any number of models can classify it.

    Attributes:
        file: File name as provided by the caller.
        sha256: SHA-256 of the file's bytes, 64 hex digits.
        image: Upright image of mode "RGB". Do not modify it.
        seconds: Decoding time.
    """

    file: str
    sha256: str
    image: Image.Image
    seconds: float


def open_photo(data: bytes, *, file: str = "", limits: ImageLimits = DEFAULT_LIMITS) -> Photo:
    """Decodes a photo.

    Args:
        data: Bytes of the image file.
        file: File name.
        limits: Maximum size of the image.

    Raises:
        ImageError: If the image cannot be used.
    """
    started = time.perf_counter()
    image = decode(data, limits)
    seconds = time.perf_counter() - started
    return Photo(file, hashlib.sha256(data).hexdigest(), image, seconds)
