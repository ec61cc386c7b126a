"""Photos from files, folders, patterns and archives.

A source has a name and can be read. A path that cannot be listed (an empty folder, a damaged
archive) becomes a source as well, one that raises its error when it is read. The error then
appears in a row of the results, like that of any other unreadable photo, and the following photos
are still processed.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NoReturn

from vgg_demo.errors import FileUnreadableError, NoPhotosError, VggDemoError
from vgg_demo.files.archives import is_archive, is_photo, read_members
from vgg_demo.images.decode import read_file
from vgg_demo.limits import DEFAULT_LIMITS, ArchiveLimits, ImageLimits


@dataclass(frozen=True, slots=True)
class Source:
    """A photo that can be read.

    Attributes:
        name: Path of the photo. Inside an archive: the path of the archive and the name of the
            member, as in ``photos.zip/cats/1.jpg``.
        read: Returns the bytes, at most one byte more than the limit for photos; raises
            `VggDemoError` if that fails. Can be called repeatedly and from any thread.
        path: Path on disk; None inside an archive.
        buffered_bytes: Bytes of the photo that are already in memory. TAR archives are read
            sequentially, so their members are buffered completely.
    """

    name: str
    read: Callable[[], bytes]
    path: Path | None = None
    buffered_bytes: int = 0


def find_photos(
    paths: Iterable[str],
    limits: ImageLimits = DEFAULT_LIMITS,
    archive_limits: ArchiveLimits | None = None,
) -> Iterator[Source]:
    """Yields the photos at the given paths, in their order.

    Folders are searched recursively, in the order of names, for files with the extension of an
    image format; links to other folders are not followed. A pattern (``*``, ``?``, ``[…]``,
    ``**``) stands for the paths that match it, unless a file has exactly this name. Any other path
    counts as a photo, whatever its extension.

    Args:
        paths: Files, folders, archives or patterns.
        limits: Maximum size of a photo.
        archive_limits: Maximum contents of an archive.
    """
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112  # returns False for invalid paths
            yield from _or_error(path, _in_folder(path, limits))
        elif is_archive(path) and os.path.exists(path):  # noqa: PTH110
            yield from _or_error(path, _in_archive(path, limits, archive_limits))
        elif glob.has_magic(path) and not os.path.lexists(path):
            yield from _or_error(path, _matching(path, limits, archive_limits))
        else:
            yield _file(path, limits)


def count_photos(paths: Sequence[str]) -> int | None:
    """Counts the photos at paths; returns None if that requires unpacking archives."""
    return None if any(map(_must_be_unpacked, paths)) else sum(1 for _ in find_photos(paths))


def count_uploads(
    uploads: Sequence[tuple[str, BinaryIO]], limits: ImageLimits, archive_limits: ArchiveLimits
) -> int | None:
    """Counts the photos in uploads; returns None if that requires unpacking archives."""
    if any(_must_be_unpacked(name) for name, _ in uploads):
        return None
    return sum(
        1 for name, file in uploads for _ in find_in_upload(name, file, limits, archive_limits)
    )


def _must_be_unpacked(name: str) -> bool:
    """Whether listing the contents requires unpacking: only ZIP archives have a directory."""
    return is_archive(name) and not name.casefold().endswith(".zip")


def find_in_upload(
    name: str, file: BinaryIO, limits: ImageLimits, archive_limits: ArchiveLimits
) -> Iterator[Source]:
    """Yields the photos in an uploaded file: those in an archive, or the file itself."""
    if is_archive(name):
        yield from _or_error(name, _members(name, file, limits, archive_limits))
    else:
        yield Source(name, partial(_read_from_start, file, limits))


def _read_from_start(file: BinaryIO, limits: ImageLimits) -> bytes:
    file.seek(0)
    return file.read(limits.size_bytes + 1)


def _file(path: str, limits: ImageLimits) -> Source:
    return Source(path, partial(read_file, path, limits), Path(path))


def _in_folder(path: str, limits: ImageLimits) -> Iterator[Source]:
    unreadable: list[OSError] = []
    for folder, folders, files in os.walk(path, onerror=unreadable.append):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted(files):
            if is_photo(name):
                yield _file(os.path.join(folder, name), limits)  # noqa: PTH118
        while unreadable:
            yield _unreadable(unreadable.pop())
    while unreadable:
        yield _unreadable(unreadable.pop())


def _unreadable(error: OSError) -> Source:
    name = os.fsdecode(error.filename)
    reason = f"Cannot list the folder {name!r}: {error.strerror}. Check its permissions."
    return _failing(name, FileUnreadableError(reason))


def _in_archive(
    path: str, limits: ImageLimits, archive_limits: ArchiveLimits | None
) -> Iterator[Source]:
    if not os.path.isfile(path):  # noqa: PTH113  # opening a pipe could block forever
        raise FileUnreadableError(f"Cannot read {path!r}: it is not a regular file.")
    try:
        file = open(path, "rb")  # noqa: SIM115  # members are read later
    except OSError as error:
        raise FileUnreadableError(
            f"Cannot read {path!r}: {error.strerror}. Check the path and its permissions."
        ) from error
    yield from _members(path, file, limits, archive_limits)


def _members(
    name: str, file: BinaryIO, limits: ImageLimits, archive_limits: ArchiveLimits | None
) -> Iterator[Source]:
    for member in read_members(file, name, archive_limits, limits):
        yield Source(f"{name}/{member.name}", member.read, buffered_bytes=member.buffered_bytes)


def _matching(
    pattern: str, limits: ImageLimits, archive_limits: ArchiveLimits | None
) -> Iterator[Source]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # works on str
    # With **, the contents of a folder match by themselves.
    is_recursive = "**" in Path(pattern).parts
    chosen = [path for path in matches if not (is_recursive and os.path.isdir(path))]  # noqa: PTH112
    yield from find_photos(chosen, limits, archive_limits)


def _or_error(name: str, sources: Iterator[Source]) -> Iterator[Source]:
    """Yields sources; if listing them fails or finds none, yields a source with the error."""
    is_empty = True
    try:
        for source in sources:
            is_empty = False
            yield source
    except VggDemoError as error:
        yield _failing(name, error)
    else:
        if is_empty:
            yield _failing(name, NoPhotosError(f"There are no photos in {name!r}."))


def _failing(name: str, error: VggDemoError) -> Source:
    def fail() -> NoReturn:
        raise error

    return Source(name, fail)
