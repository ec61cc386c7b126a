"""Photos sorted into folders by what is on them."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path, PurePosixPath

from vgg_demo.errors import FileUnwritableError
from vgg_demo.results import Prediction
from vgg_demo.sources import Source

STEM_BYTES = 180  # of a file's name; most systems take 255 with the rest
SUFFIX_LETTERS = 10
FORBIDDEN = '<>:"/\\|?*'
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
"""What Windows keeps for itself."""


def file_photo(source: Source, answer: Prediction, folder: Path, *, move: bool = False) -> Path:
    """Copies or moves a photo into a folder named after what is on it.

    A name that another photo has there is numbered; where the very same photo is there
    already, nothing is done but that the original goes if it is to be moved. What is in an
    archive is always copied.

    Args:
        source: The photo.
        answer: What is on it.
        folder: Where the folders are made.
        move: Whether the original goes.

    Returns:
        Where the photo is now.

    Raises:
        FileUnreadableError: If it cannot be read (any more).
        FileUnwritableError: If it cannot be written, or the original not be removed.
    """
    data = source.read()
    target = folder / safe_name(answer.label)
    try:
        target.mkdir(parents=True, exist_ok=True)
        written = _write(data, target, safe_name(PurePosixPath(_slashes(source.name)).name))
        if move and source.path is not None and not source.path.samefile(written):
            source.path.unlink()
    except OSError as error:
        raise FileUnwritableError(
            f"Cannot sort {source.name!r} into {str(target)!r}: {error.strerror or error}. "
            "Choose another folder."
        ) from error
    return written


def _write(data: bytes, folder: Path, name: str) -> Path:
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    number = 1
    while True:
        path = folder / name
        try:
            file = path.open("xb")
        except FileExistsError:
            with suppress(OSError):
                if path.stat().st_size == len(data) and path.read_bytes() == data:
                    return path
            number += 1
            name = f"{stem}-{number}{suffix}"
            continue
        try:
            with file:
                file.write(data)
        except OSError:
            path.unlink()  # no half photos
            raise
        return path


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def safe_name(name: str) -> str:
    """Makes a file name of any text: one that every system takes and that leads nowhere.

    >>> [safe_name(name) for name in ("crane (wading bird)", "a:b?.jpg", "..", "CON.jpg")]
    ['crane (wading bird)', 'a_b_.jpg', '_', '_CON.jpg']
    """
    kept = "".join("_" if sign in FORBIDDEN or not sign.isprintable() else sign for sign in name)
    path = PurePosixPath(kept)
    stem = path.stem.encode()[:STEM_BYTES].decode(errors="ignore")
    short = stem + path.suffix[:SUFFIX_LETTERS]
    if short.startswith(".") or not short.strip() or RESERVED.match(short):
        short = f"_{short}"
    return short.rstrip(" .")
