"""Photos sorted into folders by what is on them."""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath

from vgg_demo.errors import FileUnreadableError, FileUnwritableError
from vgg_demo.files.sources import Source

STEM_BYTES = 180  # of a file's name; most systems take 255 with the rest
SUFFIX_LETTERS = 10
FORBIDDEN = '<>:"/\\|?*'
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
"""What Windows keeps for itself."""


def file_photo(
    source: Source, sha256: str, label: str, folder: Path, *, move: bool = False
) -> Path:
    """Copies or moves a photo into a folder named after what is on it.

    A name that another photo has there is numbered; where the very same photo is there
    already, nothing is done but that the original goes if it is to be moved. What is in an
    archive, or is a link, is always copied. The times and the permissions of a file stay.

    Args:
        source: The photo.
        sha256: Of the bytes that were looked at, 64 hex digits.
        label: What is on it.
        folder: Where the folders are made.
        move: Whether the original goes.

    Returns:
        Where the photo is now.

    Raises:
        FileUnreadableError: If it cannot be read (any more), or is not what was looked at.
        FileUnwritableError: If it cannot be written, or the original not be removed.
    """
    data, original = source.read(), source.path
    if hashlib.sha256(data).hexdigest() != sha256:
        raise FileUnreadableError(
            f"{source.name!r} has changed since it was looked at, and stays where it is. "
            "Look at it again."
        )
    target = folder / safe_name(label)
    try:
        target.mkdir(parents=True, exist_ok=True)
        written = _write(data, target, safe_name(PurePosixPath(_slashes(source.name)).name))
        if original is not None and not original.samefile(written):
            with suppress(OSError):  # some file systems know no such things
                shutil.copystat(original, written)
            if move and not original.is_symlink():
                original.unlink()
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
    short = short.rstrip(" .")
    return f"_{short}" if not short or short.startswith(".") or RESERVED.match(short) else short
