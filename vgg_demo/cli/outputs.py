"""Files that `classify` and `batch` write besides results: annotated and sorted photos."""

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
from vgg_demo.files.sorting import safe_name, sort_photo
from vgg_demo.files.sources import Source
from vgg_demo.files.writing import report_write_errors
from vgg_demo.inference.results import Classification
from vgg_demo.reports.annotate import annotate, to_png

ADVICE = "Choose another folder."
"""Advice at the end of error messages about folders that cannot be written."""

SaveAnnotated = Callable[[Image.Image, Classification], Path]
"""Saves a photo annotated with its top prediction; returns the path of the file."""


def annotated_saver(folder: Path, *, keep_existing: bool = False) -> SaveAnnotated:
    """Returns a function that saves annotated photos in a folder, each under a unique name.

    Args:
        folder: The folder; it is created if missing.
        keep_existing: Whether to number new files instead of overwriting existing ones.

    Raises:
        FileUnwritableError: If the folder cannot be written.
    """
    with report_write_errors(folder, ADVICE):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    used_names: set[str] = set()

    def save(image: Image.Image, result: Classification) -> Path:
        stem = name = safe_name(Path(result.file).stem)
        number = 1
        target = folder / f"{name}.{result.model}.png"
        # Some file systems ignore case: "Cat" and "cat" would be one file.
        while target.name.casefold() in used_names or (keep_existing and target.exists()):
            number += 1
            name = f"{stem}-{number}"
            target = folder / f"{name}.{result.model}.png"
        used_names.add(target.name.casefold())
        with report_write_errors(target, ADVICE):
            target.write_bytes(to_png(annotate(image, result)))
        return target

    return save


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Which files to write besides the table of results.

    Attributes:
        annotate_dir: Folder for annotated photos; None to save none.
        sort_dir: Folder for sorted photos, with one subfolder per class; None to sort none.
        move: Whether sorted photos are moved instead of copied.
        is_resumed: Whether an earlier run may have written files to these folders.
    """

    annotate_dir: Path | None
    sort_dir: Path | None
    move: bool
    is_resumed: bool


class OutputWriter:
    """Writes annotated and sorted photos, and recognizes these files among the inputs.

    Raises:
        FileUnwritableError: If the folder for annotated photos cannot be written.
    """

    def __init__(self, options: OutputOptions, paths: Sequence[str]) -> None:
        self._options = options
        folder = options.annotate_dir
        self._save = annotated_saver(folder, keep_existing=options.is_resumed) if folder else None
        self._output_dirs = [
            _real_path(folder)
            for folder in (options.annotate_dir, options.sort_dir)
            if folder and not _contains_any(folder, paths)
        ]
        self._written: set[Path] = set()

    def save_annotated(self, row: BatchRow) -> bool:
        """Saves a photo annotated by each model, if requested.

        Returns:
            False if a file cannot be written; the error is logged.
        """
        if self._save is None:
            return True
        try:
            for result in row.results:
                self._written.add(self._save(row.extracted, result))
        except VggDemoError as error:
            log(f"{row.source.name}: {error}")
            return False
        return True

    def sort(self, source: Source, sha256: str, label: str) -> bool:
        """Copies or moves a photo into the folder of its class, if requested.

        A photo that is already in the right folder stays there.

        Args:
            source: The photo.
            sha256: Hash of the classified bytes; empty for a photo that cannot be used.
            label: Name of the class.

        Returns:
            False if the photo cannot be sorted; the error is logged.
        """
        options = self._options
        if not options.sort_dir or not sha256:
            return True
        try:
            self._written.add(
                sort_photo(source, sha256, label, options.sort_dir, move=options.move)
            )
        except VggDemoError as error:
            log(f"{source.name}: {error}")
            return False
        return True

    def is_own_output(self, source: Source) -> bool:
        """Whether a file is an output of this command, which must not be classified."""
        if source.path is None:
            return False
        if source.path in self._written:
            return True
        parents = _real_path(source.path).parents if self._output_dirs else ()
        return any(folder in parents for folder in self._output_dirs)


def _contains_any(folder: Path, paths: Sequence[str]) -> bool:
    """Whether a folder is, or contains, one of the paths."""
    root = _real_path(folder)
    resolved = [_real_path(Path(path)) for path in paths]
    return any(root == path or root in path.parents for path in resolved)


def _real_path(path: Path) -> Path:
    """Resolves symbolic links; unlike `Path.resolve`, does not fail on circular ones."""
    return Path(os.path.realpath(path))
