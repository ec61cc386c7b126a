"""The bundled example photos and their credits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Example:
    """A bundled example photo.

    Attributes:
        file: File name in ``data/examples``.
        title: Caption shown below the photo.
        description: Alternative text.
        author: Photographer.
        license: License of the photo.
        source: Where the photo was published.
    """

    file: str
    title: str
    description: str
    author: str
    license: str
    source: str

    def read(self) -> bytes:
        """Returns the bytes of the photo."""
        return files("vgg_demo").joinpath("data", "examples", self.file).read_bytes()


@cache
def load_examples() -> tuple[Example, ...]:
    """Returns the example photos in display order."""
    text = files("vgg_demo").joinpath("data", "examples", "credits.json").read_text("utf-8")
    return tuple(Example(**credit) for credit in json.loads(text))
