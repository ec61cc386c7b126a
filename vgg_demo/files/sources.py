"""Photos from wherever they are: files, folders, patterns, archives.

A source has a name and can be read. What cannot be listed (an empty folder, a damaged archive)
is a source too, one that raises its error when it is read: so it becomes a row with an error
like any other bad photo, and what comes after it is not lost.
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
        name: Its path; within an archive, the archive's path and its name there, as in
            ``photos.zip/cats/1.jpg``.
        read: Returns its bytes, at most one more than a photo may have; raises `VggDemoError`
            where that is not possible. May be called from any thread, and again.
        path: Where it is on disk; None in an archive.
        held_bytes: What it keeps in memory to be read; of what is in a TAR archive, which is
            read from its beginning to its end, all.
    """

    name: str
    read: Callable[[], bytes]
    path: Path | None = None
    held_bytes: int = 0


def find_photos(
    paths: Iterable[str],
    limits: ImageLimits = DEFAULT_LIMITS,
    archive_limits: ArchiveLimits | None = None,
) -> Iterator[Source]:
    """Yields the photos that paths lead to, in the order of the paths.

    A folder is searched with the folders below it, in the order of names, for files that are
    named like pictures; links to other folders are not followed. A pattern (``*``, ``?``,
    ``[…]``, ``**``) stands for what matches it, if no file is called so. Any other path is
    taken for a photo, whatever its name.

    Args:
        paths: Of files, folders and archives, or patterns.
        limits: What a photo may be at most.
        archive_limits: What an archive may hold at most.
    """
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112  # false, not an error, for what is no path
            yield from _or_error(path, _in_folder(path, limits))
        elif is_archive(path) and os.path.exists(path):  # noqa: PTH110
            yield from _or_error(path, _in_archive(path, limits, archive_limits))
        elif glob.has_magic(path) and not os.path.lexists(path):
            yield from _or_error(path, _matching(path, limits, archive_limits))
        else:
            yield _file(path, limits)


def count_photos(paths: Sequence[str]) -> int | None:
    """Counts the photos that paths lead to; None where that would take unpacking archives."""
    return None if any(map(_must_be_unpacked, paths)) else sum(1 for _ in find_photos(paths))


def count_uploads(
    uploads: Sequence[tuple[str, BinaryIO]], limits: ImageLimits, archive_limits: ArchiveLimits
) -> int | None:
    """Counts the photos in what was uploaded; None where that would take unpacking archives."""
    if any(_must_be_unpacked(name) for name, _ in uploads):
        return None
    return sum(
        1 for name, file in uploads for _ in find_in_upload(name, file, limits, archive_limits)
    )


def _must_be_unpacked(name: str) -> bool:
    """Whether it takes unpacking to know what is in something: only a ZIP has a directory."""
    return is_archive(name) and not name.casefold().endswith(".zip")


def find_in_upload(
    name: str, file: BinaryIO, limits: ImageLimits, archive_limits: ArchiveLimits
) -> Iterator[Source]:
    """Yields the photos in something uploaded: itself, or those in it if it is an archive."""
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
    reason = f"Cannot look into {name!r}: {error.strerror}. Check its permissions."
    return _failing(name, FileUnreadableError(reason))


def _in_archive(
    path: str, limits: ImageLimits, archive_limits: ArchiveLimits | None
) -> Iterator[Source]:
    if not os.path.isfile(path):  # noqa: PTH113  # to open a pipe would be to wait for ever
        raise FileUnreadableError(f"Cannot read {path!r}: it is no ordinary file.")
    try:
        file = open(path, "rb")  # noqa: SIM115  # its members are read later
    except OSError as error:
        raise FileUnreadableError(
            f"Cannot read {path!r}: {error.strerror}. Check the path and its permissions."
        ) from error
    yield from _members(path, file, limits, archive_limits)


def _members(
    name: str, file: BinaryIO, limits: ImageLimits, archive_limits: ArchiveLimits | None
) -> Iterator[Source]:
    for member in read_members(file, name, archive_limits, limits):
        yield Source(f"{name}/{member.name}", member.read, held_bytes=member.held_bytes)


def _matching(
    pattern: str, limits: ImageLimits, archive_limits: ArchiveLimits | None
) -> Iterator[Source]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # text in, text out
    # With ** all that is in a folder matches by itself.
    is_whole = "**" in Path(pattern).parts
    chosen = [path for path in matches if not (is_whole and os.path.isdir(path))]  # noqa: PTH112
    yield from find_photos(chosen, limits, archive_limits)


def _or_error(name: str, sources: Iterator[Source]) -> Iterator[Source]:
    """Passes sources on; turns what keeps them from coming, and that there are none, into one."""
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
