"""The photos that come with the package, and whose they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Example:
    """A bundled photo.

    Attributes:
        file: File name in ``data/examples``.
        title: What people see under it.
        description: Alternative text.
        author: Who took it.
        license: Under what it may be used.
        source: Where it comes from.
    """

    file: str
    title: str
    description: str
    author: str
    license: str
    source: str

    def read(self) -> bytes:
        """Returns the photo's bytes."""
        return files("vgg_demo").joinpath("data", "examples", self.file).read_bytes()


@cache
def load_examples() -> tuple[Example, ...]:
    """Returns the bundled photos in the order in which they are shown."""
    text = files("vgg_demo").joinpath("data", "examples", "credits.json").read_text("utf-8")
    return tuple(Example(**credit) for credit in json.loads(text))
