"""Photos inside ZIP and TAR archives, read one after the other and never unpacked to disk.

An archive may be a stranger's. Nothing in it is believed: its names lead nowhere, since they
are only names here; links and devices are passed over; and what it may make this program read
or hold is limited while it is read, whatever its headers say.
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
"""Endings of the archives that are taken from strangers. In the dictionary of an xz file,
gigabytes can be asked for."""

ARCHIVE_SUFFIXES = (*UPLOAD_SUFFIXES, "txz", "tar.xz")

ENCRYPTED = 1  # bit of a ZIP member's flags

HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
HEADER_BYTES = 65_536
"""Of an extended header of a TAR's member; names have some hundred."""

BUFFER_BYTES = 1_000_000
"""As much more than it was asked for may be read of a member: Python's buffers are smaller."""

NAME_BYTES = 256
"""Bytes for each member in a ZIP's directory: 46 and its name. The directory is read at once."""

DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,  # numbers and texts in headers
    OverflowError,
    RuntimeError,  # a locked ZIP
    RecursionError,  # headers of headers of headers
    NotImplementedError,  # what Python's `zipfile` does not know
)


@dataclass(frozen=True, slots=True)
class Member:
    """A photo in an archive.

    Attributes:
        name: Its name there, with folders.
        read: Returns its bytes, at most one more than a photo may have. May be called from
            any thread, and again.
        held_bytes: What it keeps in memory to do so.
    """

    name: str
    read: Callable[[], bytes]
    held_bytes: int = 0


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its name.

    >>> is_archive("photos.TAR.GZ"), is_archive("photo.jpg")
    (True, False)
    """
    return name.casefold().endswith(tuple(f".{suffix}" for suffix in ARCHIVE_SUFFIXES))


def is_photo(name: str) -> bool:
    """Whether a file in a folder or an archive is meant as a photo, by its name.

    Hidden files are not: macOS puts one of some bytes beside each photo in its archives.

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
    """Yields the photos in an archive, in its order.

    Args:
        file: The archive, open for reading; not to be closed before the last member was read.
        name: Its name, which tells its kind and stands in errors.
        limits: What it may hold.
        image_limits: What a photo may be.

    Raises:
        ArchiveTooLargeError: If it holds more than it may; what came before was yielded.
        ArchiveCorruptError: If it cannot be read to its end; likewise.
    """
    limits = limits or ArchiveLimits()
    listed = _read_zip if name.casefold().endswith(".zip") else _read_tar
    try:
        yield from listed(file, name, limits, image_limits.size_bytes + 1)
    except VggDemoError:
        raise
    except DAMAGE as error:
        raise _damaged(name, error) from error


def _read_zip(file: BinaryIO, name: str, limits: ArchiveLimits, most: int) -> Iterator[Member]:
    # The directory at the end is read in one piece, of the size that the file claims.
    guarded = BoundedReader(file, name, largest=NAME_BYTES * limits.members + BUFFER_BYTES)
    archive = zipfile.ZipFile(cast("BinaryIO", guarded))
    guarded.largest = most + BUFFER_BYTES
    members = archive.infolist()
    if len(members) > limits.members:
        raise _too_many(name, limits)
    unpacked = 0
    for member in members:
        if is_photo(member.filename) and _is_file(member):
            # `zipfile` never unpacks more of a member than its header says.
            unpacked += member.file_size
            if unpacked > limits.size_bytes:
                raise _too_much(name, limits.size_bytes)
            yield Member(member.filename, _zip_reader(archive, member, name, most))


def _is_file(member: zipfile.ZipInfo) -> bool:
    """Whether a member is neither a folder nor a link; Unix keeps its modes in the upper bits."""
    mode = member.external_attr >> 16
    return not member.is_dir() and stat.S_IFMT(mode) in (0, stat.S_IFREG)


def _zip_reader(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, most: int
) -> Callable[[], bytes]:
    def read() -> bytes:
        # Python unpacks what is packed in other ways in pieces of any size.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveCorruptError(
                f"In {name!r} it is packed in a way that is not read here. "
                "Make the archive anew with the usual method, deflate."
            )
        if member.flag_bits & ENCRYPTED:
            raise ArchiveCorruptError(
                f"In {name!r} it is locked with a password. Make the archive anew without one."
            )
        try:
            with archive.open(member) as opened:
                return opened.read(most)
        except DAMAGE as error:
            raise _damaged(name, error) from error

    return read


def _read_tar(file: BinaryIO, name: str, limits: ArchiveLimits, most: int) -> Iterator[Member]:
    guarded = BoundedReader(
        _unpacked(file, name), name, largest=most + BUFFER_BYTES, total=limits.size_bytes
    )
    unpacked = 0
    with tarfile.open(
        fileobj=cast("BinaryIO", guarded), mode="r:", tarinfo=_PlainTarInfo
    ) as archive:
        for count, member in enumerate(iter(archive.next, None), start=1):
            archive.members.clear()  # type: ignore[attr-defined]  # it would remember all
            archive.pax_headers.clear()  # type: ignore[attr-defined]
            if count > limits.members:
                raise _too_many(name, limits)
            unpacked += member.size
            if unpacked > limits.size_bytes:
                raise _too_much(name, limits.size_bytes)
            if member.isreg() and is_photo(member.name):
                opened = archive.extractfile(member)
                data = opened.read(most) if opened else b""
                yield Member(member.name, partial(bytes, data), len(data))
    # `tarfile` takes whatever is no header for the end; the real one is zeros.
    if any(guarded.last_block):
        raise _damaged(name, tarfile.ReadError("no header where one should be"))


def _unpacked(file: BinaryIO, name: str) -> BinaryIO:
    match name.casefold().rpartition(".")[2]:
        case "gz" | "tgz":
            return cast("BinaryIO", gzip.GzipFile(fileobj=file))
        case "bz2" | "tbz2":
            return cast("BinaryIO", bz2.BZ2File(file))
        case "xz" | "txz":
            return cast("BinaryIO", lzma.LZMAFile(file))
        case _:
            return file


class _PlainTarInfo(tarfile.TarInfo):
    """A member without what photos do not need, and what strangers could use.

    Of a sparse file, an archive holds little more than a list of holes: with some kilobytes
    it is as large, and takes as long to read, as it says.
    """

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:  # made to be overridden
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse()
        if self.type in HEADERS and self.size > HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        self._check_size(self)
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        self._check_size(member)  # an extended header may have changed it
        return member

    @staticmethod
    def _check_size(member: tarfile.TarInfo) -> None:
        """Keeps `tarfile` from going backwards, where it would read the same for ever."""
        if member.size < 0:
            raise tarfile.ReadError(f"a file of {member.size:,} bytes")

    def _refuse(self, *_: object) -> None:
        raise tarfile.ReadError("a sparse file in it; archive its files as they are")

    # The three ways in which extended headers say so.
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse


class BoundedReader(io.RawIOBase):
    """A file that is read in pieces of limited size, and from its beginning only so far.

    Attributes:
        largest: The largest piece, in bytes.
        last_block: What was read last, if it was as small as a header.
    """

    def __init__(self, file: BinaryIO, name: str, largest: int, total: int | None = None) -> None:
        self._file = file
        self._name = name
        self.largest = largest
        self._total = total
        self.last_block = b""

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if self._total is not None and offset > self._total:
            raise _too_much(self._name, self._total)
        # To go back in something packed is to unpack it again from its beginning.
        if self._total is not None and offset < self._file.tell() - tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it leads back to what was read already")
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self.largest + 1 if size < 0 else min(size, self.largest + 1))
        if len(data) > self.largest:
            raise _too_much(self._name, self.largest)
        if self._total is not None and self._file.tell() > self._total:
            raise _too_much(self._name, self._total)
        self.last_block = data if len(data) <= tarfile.BLOCKSIZE else b""
        return data


def _too_many(name: str, limits: ArchiveLimits) -> ArchiveTooLargeError:
    return ArchiveTooLargeError(
        f"{name!r} holds more than {limits.members:,} files, which is the limit. "
        "Divide it into several archives, or unpack it and name the folder."
    )


def _too_much(name: str, size_bytes: int) -> ArchiveTooLargeError:
    return ArchiveTooLargeError(
        f"{name!r} unpacks to more than {size_bytes / 1e6:,.0f} MB, which is the limit. "
        "Divide it into several archives, or unpack it and name the folder."
    )


def _damaged(name: str, error: Exception) -> ArchiveCorruptError:
    return ArchiveCorruptError(
        f"{name!r} is damaged or not the archive that its name says ({error}). "
        "Get it anew, or unpack it and name the folder."
    )
