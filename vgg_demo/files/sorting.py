"""Sorts photos into folders named after their predicted class."""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath

from vgg_demo.errors import FileUnreadableError, FileUnwritableError
from vgg_demo.files.sources import Source

MAX_STEM_BYTES = 180  # most file systems allow 255 bytes for the whole name
MAX_SUFFIX_CHARACTERS = 10
FORBIDDEN = '<>:"/\\|?*'
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
"""File names that Windows reserves for devices."""


def sort_photo(
    source: Source, sha256: str, label: str, folder: Path, *, move: bool = False
) -> Path:
    """Copies or moves a photo into a folder named after its label.

    If another photo in the folder has the same name, a number is appended. If the same photo is
    already in the folder, nothing is written, but the original is still removed when moving.
    Photos in archives and symbolic links are always copied. Modification time and permissions of
    a file are preserved.

    Args:
        source: The photo.
        sha256: SHA-256 of the bytes that were classified, 64 hex digits.
        label: Label of the predicted class.
        folder: Parent of the class folders.
        move: Whether to remove the original.

    Returns:
        Path of the photo in its class folder.

    Raises:
        FileUnreadableError: If the photo cannot be read or has changed since it was classified.
        FileUnwritableError: If it cannot be written, or the original cannot be removed.
    """
    data, original = source.read(), source.path
    if hashlib.sha256(data).hexdigest() != sha256:
        raise FileUnreadableError(
            f"{source.name!r} has changed since it was classified and was not sorted. "
            "Classify it again."
        )
    target = folder / safe_name(label)
    try:
        target.mkdir(parents=True, exist_ok=True)
        written = _write(data, target, safe_name(PurePosixPath(_slashes(source.name)).name))
        if original is not None and not original.samefile(written):
            with suppress(OSError):  # not supported by every file system
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
            path.unlink()  # do not leave a partial photo
            raise
        return path


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def safe_name(name: str) -> str:
    """Converts any text to a file name that is valid on every system and is not a path.

    >>> [safe_name(name) for name in ("crane (wading bird)", "a:b?.jpg", "..", "CON.jpg")]
    ['crane (wading bird)', 'a_b_.jpg', '_', '_CON.jpg']
    """
    allowed = "".join(
        "_" if character in FORBIDDEN or not character.isprintable() else character
        for character in name
    )
    path = PurePosixPath(allowed)
    stem = path.stem.encode()[:MAX_STEM_BYTES].decode(errors="ignore")
    short = stem + path.suffix[:MAX_SUFFIX_CHARACTERS]
    short = short.rstrip(" .")
    return f"_{short}" if not short or short.startswith(".") or RESERVED.match(short) else short
