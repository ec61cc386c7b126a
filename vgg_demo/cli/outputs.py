"""Files that `classify` and `batch` write besides their results: annotated and sorted photos."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vgg_demo.batch.pipeline import BatchRow
from vgg_demo.cli.console import log
from vgg_demo.errors import VggDemoError
from vgg_demo.files.sorting import file_photo, safe_name
from vgg_demo.files.sources import Source
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


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What is to be done.

    Attributes:
        annotate_into: Folder for pictures with the answers on them; None for none.
        move_to: Folder in which photos are sorted; None if they are not.
        move: Whether they go from where they were.
        is_resumed: Whether an earlier run has filled the folders in part.
    """

    annotate_into: Path | None
    move_to: Path | None
    move: bool
    is_resumed: bool


class OutputWriter:
    """Does it, photo by photo, and knows what came of it.

    Raises:
        FileUnwritableError: If nothing can be saved in the folder for pictures.
    """

    def __init__(self, keeping: OutputOptions, paths: Sequence[str]) -> None:
        self._keeping = keeping
        folder = keeping.annotate_into
        self._save = annotated_saver(folder, keep=keeping.is_resumed) if folder else None
        self._folders = [
            _real(folder)
            for folder in (keeping.annotate_into, keeping.move_to)
            if folder and not _is_above(folder, paths)
        ]
        self._made: set[Path] = set()

    def save(self, row: BatchRow) -> bool:
        """Saves the pictures of a photo, if that was asked for.

        Returns whether nothing went wrong; what did is told.
        """
        if self._save is None:
            return True
        try:
            for result in row.results:
                self._made.add(self._save(row.view, result))
        except VggDemoError as error:
            log(f"{row.source.name}: {error}")
            return False
        return True

    def sort(self, source: Source, sha256: str, label: str) -> bool:
        """Sorts a photo, if that was asked for; one that is sorted already stays so.

        Args:
            source: The photo.
            sha256: Of the bytes that were looked at; empty if they could not be.
            label: What is on it.

        Returns whether nothing went wrong; what did is told.
        """
        keeping = self._keeping
        if not keeping.move_to or not sha256:
            return True
        try:
            self._made.add(file_photo(source, sha256, label, keeping.move_to, move=keeping.move))
        except VggDemoError as error:
            log(f"{source.name}: {error}")
            return False
        return True

    def has_made(self, source: Source) -> bool:
        """Whether a photo is one that this command puts somewhere, and not to be looked at."""
        if source.path is None:
            return False
        if source.path in self._made:
            return True
        above = _real(source.path).parents if self._folders else ()
        return any(folder in above for folder in self._folders)


def _is_above(folder: Path, paths: Sequence[str]) -> bool:
    """Whether a folder is one of the paths, or above one."""
    whole = _real(folder)
    resolved = [_real(Path(path)) for path in paths]
    return any(whole == path or whole in path.parents for path in resolved)


def _real(path: Path) -> Path:
    """Follows links; unlike `Path.resolve` also where they lead round in circles."""
    return Path(os.path.realpath(path))
