"""Saves photos with their answers written on them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from vgg_demo.files.sorting import safe_name
from vgg_demo.files.writing import writing
from vgg_demo.inference.results import Classification
from vgg_demo.reports.annotate import annotate, to_png

CHOOSE_ANOTHER = "Choose another folder."

Save = Callable[[Image.Image, Classification], Path]
"""Saves a photo with an answer; returns where."""


def annotated_saver(folder: Path, *, keep: bool = False) -> Save:
    """Returns a function that saves photos into a folder, each under a name of its own.

    Args:
        folder: The folder.
        keep: Whether pictures that are there already stay.

    Raises:
        FileUnwritableError: If nothing can be saved in the folder.
    """
    with writing(folder, CHOOSE_ANOTHER):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    taken: set[str] = set()

    def save(image: Image.Image, result: Classification) -> Path:
        stem = name = safe_name(Path(result.file).stem)
        number = 1
        target = folder / f"{name}.{result.model}.png"
        # "Cat" and "cat" may be one name.
        while target.name.casefold() in taken or (keep and target.exists()):
            number += 1
            name = f"{stem}-{number}"
            target = folder / f"{name}.{result.model}.png"
        taken.add(target.name.casefold())
        with writing(target, CHOOSE_ANOTHER):
            target.write_bytes(to_png(annotate(image, result)))
        return target

    return save
