"""Photos inside ZIP and TAR archives, read one at a time and never extracted to disk.

Archives can be untrusted. Member names are never used as paths. Links and devices are
skipped. Whatever the headers claim, limits apply to everything that is read or buffered.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from vgg_demo.errors import ArchiveCorruptError, ArchiveTooLargeError, VggDemoError
from vgg_demo.images.decode import SUFFIXES
from vgg_demo.limits import DEFAULT_LIMITS, ArchiveLimits, ImageLimits

UPLOAD_SUFFIXES = ("zip", "tar", "tgz", "tar.gz", "tbz2", "tar.bz2")
"""Extensions of archives that can be uploaded. Not xz, whose dictionary can request gigabytes."""

ARCHIVE_SUFFIXES = (*UPLOAD_SUFFIXES, "txz", "tar.xz")

ENCRYPTED = 1  # bit of a ZIP member's flags

EXTENDED_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
MAX_HEADER_BYTES = 65_536
"""Maximum size of an extended header of a TAR member; names have a few hundred bytes."""

BUFFER_BYTES = 1_000_000
"""Allowance for reads beyond the requested size; Python's buffers are smaller."""

DIRECTORY_ENTRY_BYTES = 256
"""Bytes per member in the directory of a ZIP, which is read at once: 46 and the name."""

READ_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,  # invalid numbers and text in headers
    OverflowError,
    RuntimeError,  # an encrypted ZIP
    RecursionError,  # nested extended headers
    NotImplementedError,  # features that `zipfile` does not support
)
"""Exceptions that damaged archives raise in Python's readers."""


@dataclass(frozen=True, slots=True)
class Member:
    """A photo in an archive.

    Attributes:
        name: Name in the archive, including folders.
        read: Returns the bytes, at most one byte more than the limit for photos. Can be called
            repeatedly and from any thread.
        buffered_bytes: Bytes of the photo that are already in memory.
    """

    name: str
    read: Callable[[], bytes]
    buffered_bytes: int = 0


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its extension.

    >>> is_archive("photos.TAR.GZ"), is_archive("photo.jpg")
    (True, False)
    """
    return name.casefold().endswith(tuple(f".{suffix}" for suffix in ARCHIVE_SUFFIXES))


def is_photo(name: str) -> bool:
    """Whether a file in a folder or an archive is a photo, by its extension.

    Hidden files are excluded: macOS adds one with metadata for each photo in its archives.

    >>> is_photo("cats/1.JPG"), is_photo("__MACOSX/cats/._1.jpg"), is_photo("notes.txt")
    (True, False, False)
    """
    path = PurePosixPath(name)
    return path.suffix[1:].casefold() in SUFFIXES and not path.name.startswith(".")


def read_members(
    file: BinaryIO,
    name: str,
    limits: ArchiveLimits | None = None,
    image_limits: ImageLimits = DEFAULT_LIMITS,
) -> Iterator[Member]:
    """Yields the photos in an archive, in the order of the archive.

    Args:
        file: The archive, open for reading. Keep it open until all members have been read.
        name: File name of the archive: determines the format and appears in messages.
        limits: Maximum contents of the archive.
        image_limits: Maximum size of a photo.

    Raises:
        ArchiveTooLargeError: If the archive exceeds the limits, after the photos before that point.
        ArchiveCorruptError: If the archive is damaged, after the photos before that point.
    """
    limits = limits or ArchiveLimits()
    read_archive = _read_zip if name.casefold().endswith(".zip") else _read_tar
    try:
        yield from read_archive(file, name, limits, image_limits.size_bytes + 1)
    except VggDemoError:
        raise
    except READ_ERRORS as error:
        raise _corrupt(name, error) from error


def _read_zip(file: BinaryIO, name: str, limits: ArchiveLimits, max_bytes: int) -> Iterator[Member]:
    # `zipfile` reads the directory at the end at once, in the size that the file declares.
    bounded = BoundedReader(
        file, name, max_read_bytes=DIRECTORY_ENTRY_BYTES * limits.members + BUFFER_BYTES
    )
    archive = zipfile.ZipFile(cast("BinaryIO", bounded))
    bounded.max_read_bytes = max_bytes + BUFFER_BYTES
    members = archive.infolist()
    if len(members) > limits.members:
        raise _too_many(name, limits)
    unpacked_bytes = 0
    for member in members:
        if is_photo(member.filename) and _is_file(member):
            # `zipfile` never unpacks more of a member than its header declares.
            unpacked_bytes += member.file_size
            if unpacked_bytes > limits.size_bytes:
                raise _too_large(name, limits.size_bytes)
            yield Member(member.filename, _zip_reader(archive, member, name, max_bytes))


def _is_file(member: zipfile.ZipInfo) -> bool:
    """Whether a member is a regular file; its Unix mode is stored in the upper 16 bits."""
    mode = member.external_attr >> 16
    return not member.is_dir() and stat.S_IFMT(mode) in (0, stat.S_IFREG)


def _zip_reader(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, max_bytes: int
) -> Callable[[], bytes]:
    def read() -> bytes:
        # With other compression methods, Python decompresses chunks of unlimited size.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveCorruptError(
                f"This member of {name!r} has an unsupported compression method. "
                "Create the archive again with the standard method, deflate."
            )
        if member.flag_bits & ENCRYPTED:
            raise ArchiveCorruptError(
                f"This member of {name!r} is encrypted. "
                "Create the archive again without a password."
            )
        try:
            with archive.open(member) as opened:
                return opened.read(max_bytes)
        except READ_ERRORS as error:
            raise _corrupt(name, error) from error

    return read


def _read_tar(file: BinaryIO, name: str, limits: ArchiveLimits, max_bytes: int) -> Iterator[Member]:
    bounded = BoundedReader(
        _decompressed(file, name),
        name,
        max_read_bytes=max_bytes + BUFFER_BYTES,
        max_total_bytes=limits.size_bytes,
    )
    unpacked_bytes = 0
    with tarfile.open(
        fileobj=cast("BinaryIO", bounded), mode="r:", tarinfo=_RestrictedTarInfo
    ) as archive:
        for count, member in enumerate(iter(archive.next, None), start=1):
            archive.members.clear()  # type: ignore[attr-defined]  # `tarfile` keeps all members
            archive.pax_headers.clear()  # type: ignore[attr-defined]
            if count > limits.members:
                raise _too_many(name, limits)
            unpacked_bytes += member.size
            if unpacked_bytes > limits.size_bytes:
                raise _too_large(name, limits.size_bytes)
            if member.isreg() and is_photo(member.name):
                opened = archive.extractfile(member)
                data = opened.read(max_bytes) if opened else b""
                yield Member(member.name, partial(bytes, data), len(data))
    # `tarfile` treats any invalid header as the end; the real end consists of zeros.
    if any(bounded.last_block):
        raise _corrupt(name, tarfile.ReadError("a header is invalid"))


def _decompressed(file: BinaryIO, name: str) -> BinaryIO:
    match name.casefold().rpartition(".")[2]:
        case "gz" | "tgz":
            return cast("BinaryIO", gzip.GzipFile(fileobj=file))
        case "bz2" | "tbz2":
            return cast("BinaryIO", bz2.BZ2File(file))
        case "xz" | "txz":
            return cast("BinaryIO", lzma.LZMAFile(file))
        case _:
            return file


class _RestrictedTarInfo(tarfile.TarInfo):
    """A TAR member that rejects features that photos do not need and that can be abused.

    A sparse file is stored as little more than a list of holes: a few kilobytes in the archive can
    declare any size, and reading takes time in proportion to it.
    """

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:  # meant for overriding
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._reject_sparse()
        if self.type in EXTENDED_HEADERS and self.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(
                f"a header of {self.size:,} bytes; the limit is {MAX_HEADER_BYTES:,}"
            )
        self._check_size(self)
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        self._check_size(member)  # an extended header may have changed it
        return member

    @staticmethod
    def _check_size(member: tarfile.TarInfo) -> None:
        """Prevents `tarfile` from seeking backward, where it would read the same data forever."""
        if member.size < 0:
            raise tarfile.ReadError(f"a file of {member.size:,} bytes")

    def _reject_sparse(self, *_: object) -> None:
        raise tarfile.ReadError("it contains a sparse file; archive the files without --sparse")

    # The three formats in which extended headers declare sparse files.
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _reject_sparse


class BoundedReader(io.RawIOBase):
    """A file with a maximum size per read, and optionally a maximum position.

    Args:
        file: The underlying file.
        name: File name for messages.
        max_read_bytes: Maximum bytes per read.
        max_total_bytes: Maximum position in the file; reading is then also forward only.

    Attributes:
        max_read_bytes: Maximum bytes per read.
        last_block: Bytes of the last read if it was at most one TAR block, else empty.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        max_read_bytes: int,
        max_total_bytes: int | None = None,
    ) -> None:
        self._file = file
        self._name = name
        self.max_read_bytes = max_read_bytes
        self._max_total_bytes = max_total_bytes
        self.last_block = b""

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        limit = self._max_total_bytes
        if limit is not None and offset > limit:
            raise _too_large(self._name, limit)
        # Seeking backward in a compressed file decompresses it again from the start.
        if limit is not None and offset < self._file.tell() - tarfile.BLOCKSIZE:
            raise tarfile.ReadError("a header points backward")
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        max_bytes = self.max_read_bytes
        data = self._file.read(max_bytes + 1 if size < 0 else min(size, max_bytes + 1))
        if len(data) > max_bytes:
            raise _too_large(self._name, max_bytes)
        if self._max_total_bytes is not None and self._file.tell() > self._max_total_bytes:
            raise _too_large(self._name, self._max_total_bytes)
        self.last_block = data if len(data) <= tarfile.BLOCKSIZE else b""
        return data


def _too_many(name: str, limits: ArchiveLimits) -> ArchiveTooLargeError:
    return ArchiveTooLargeError(
        f"{name!r} contains more than {limits.members:,} files, which is the limit. "
        "Split it into several archives, or unpack it and use the folder."
    )


def _too_large(name: str, size_bytes: int) -> ArchiveTooLargeError:
    return ArchiveTooLargeError(
        f"{name!r} unpacks to more than {size_bytes / 1e6:,.0f} MB, which is the limit. "
        "Split it into several archives, or unpack it and use the folder."
    )


def _corrupt(name: str, error: Exception) -> ArchiveCorruptError:
    return ArchiveCorruptError(
        f"{name!r} is damaged or does not have the format that its name indicates ({error}). "
        "Download or create it again, or unpack it and use the folder."
    )
