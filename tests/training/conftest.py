"""Photos to learn from that need nothing beside the project: pieces of the bundled ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from vgg_demo.images.decode import decode

PIECES = 16
"""Of each photo."""


def cut(image: Image.Image, number: int) -> Image.Image:
    """Returns one of `PIECES` squares of a photo, each another one."""
    side = round(min(image.size) * 0.6)
    left = (image.width - side) * (number % 4) // 3
    top = (image.height - side) * (number // 4) // 3
    return image.crop((left, top, left + side, top + side))


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, bytes]) -> Path:
    """A folder with folders of pieces: cat, parrot, rocket."""
    folder = tmp_path_factory.mktemp("pieces")
    for name in ("cat", "parrot", "rocket"):
        (folder / name).mkdir()
        image = decode(photos[name])
        for number in range(PIECES):
            cut(image, number).save(folder / name / f"{number:02}.jpg", quality=90)
    return folder
