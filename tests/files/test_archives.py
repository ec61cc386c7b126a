"""Photos in archives, including malicious archives."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from vgg_demo.errors import ArchiveCorruptError, ArchiveError, ArchiveTooLargeError
from vgg_demo.files.archives import is_archive, is_photo, read_members
from vgg_demo.limits import ArchiveLimits, ImageLimits
from vgg_demo.ui.batch.run import ARCHIVE_LIMITS

Files = dict[str, bytes]
TAR_MODES = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


def make_zip(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def make_tar(files: Files, suffix: str = "tar") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=TAR_MODES[suffix]) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def read_photos(data: bytes, name: str, **limits: object) -> Files:
    return {member.name: member.read() for member in read_members(io.BytesIO(data), name, **limits)}


MAKERS: dict[str, Callable[[Files], bytes]] = {
    "zip": make_zip,
    **{suffix: lambda files, suffix=suffix: make_tar(files, suffix) for suffix in TAR_MODES},
}


@pytest.fixture
def files(photos: dict[str, bytes]) -> Files:
    return {"b/2.jpg": photos["cat"], "a/1.JPG": photos["dog"], "3.png": b"not an image"}


@pytest.mark.parametrize("suffix", MAKERS)
def test_photos_are_read_in_the_order_of_the_archive(suffix: str, files: Files) -> None:
    other_files = {"notes.txt": b"x", "__MACOSX/b/._2.jpg": b"x", "b/.hidden.jpg": b"x"}
    name = f"photos.{suffix}"
    assert is_archive(name)
    photos = read_photos(MAKERS[suffix](other_files | files), name)
    assert photos == files
    assert list(photos) == list(files)


@pytest.mark.parametrize("suffix", MAKERS)
def test_member_is_read_only_up_to_the_photo_limit(suffix: str) -> None:
    data = MAKERS[suffix]({"1.jpg": bytes(5000), "2.jpg": b"next"})
    photos = read_photos(data, f"a.{suffix}", image_limits=ImageLimits(size_bytes=1000))
    assert photos == {"1.jpg": bytes(1001), "2.jpg": b"next"}


@pytest.mark.parametrize("suffix", MAKERS)
def test_too_many_members_are_rejected(suffix: str) -> None:
    data = MAKERS[suffix]({f"{number}.jpg": b"x" for number in range(4)})
    assert len(read_photos(data, f"a.{suffix}", limits=ArchiveLimits(members=4))) == 4
    with pytest.raises(ArchiveTooLargeError, match=r"more than 3 files, .* Split it"):
        read_photos(data, f"a.{suffix}", limits=ArchiveLimits(members=3))


@pytest.mark.parametrize("suffix", MAKERS)
def test_decompression_bomb_is_rejected(suffix: str) -> None:
    """10 MB of zeros, compressed to a few kilobytes."""
    data = MAKERS[suffix]({"1.jpg": b"first", "2.jpg": bytes(10_000_000)})
    members = read_members(io.BytesIO(data), f"a.{suffix}", ArchiveLimits(size_bytes=1_000_000))
    assert next(members).read() == b"first"
    with pytest.raises(ArchiveTooLargeError, match="unpacks to more than 1 MB"):
        list(members)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2"])
def test_huge_extended_header_is_rejected(suffix: str) -> None:
    """`tarfile` reads an extended header at once, whatever its size."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type = tarfile.XHDTYPE
    header.size = 30 * 2**20
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=TAR_MODES[suffix]) as archive:
        archive.addfile(header, io.BytesIO(bytes(header.size)))
    with pytest.raises(ArchiveCorruptError, match="a header of 31,457,280 bytes"):
        read_photos(buffer.getvalue(), f"a.{suffix}")


def test_nested_extended_headers_are_rejected() -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 0
    with pytest.raises(ArchiveCorruptError):
        read_photos(header.tobuf() * 5000 + make_tar({"1.jpg": b"x"}), "a.tar")


def test_zip_with_a_huge_directory_is_rejected() -> None:
    data = make_zip({"1.jpg": b"x"})
    end = data.rindex(b"PK\x05\x06")
    huge = 60_000_000
    size_and_offset = struct.pack("<II", huge, 0)
    archive = bytes(huge) + data[end : end + 12] + size_and_offset + data[end + 20 :]
    with pytest.raises(ArchiveError):
        read_photos(archive, "a.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_methods_without_a_memory_limit_are_rejected(method: int) -> None:
    (member,) = read_members(io.BytesIO(make_zip({"1.jpg": bytes(10**6)}, method)), "a.zip")
    with pytest.raises(ArchiveCorruptError, match="with the standard method"):
        member.read()


def test_encrypted_member_is_rejected() -> None:
    data = bytearray(make_zip({"1.jpg": b"x"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    (member,) = read_members(io.BytesIO(bytes(data)), "a.zip")
    with pytest.raises(ArchiveCorruptError, match="is encrypted"):
        member.read()


@pytest.mark.parametrize(
    "pax",
    [
        {"GNU.sparse.map": "0,1," * 4_000, "GNU.sparse.size": "20000000"},
        {"GNU.sparse.size": "20000000", "GNU.sparse.numblocks": "1"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "20000000"},
    ],
)
def test_sparse_files_are_rejected(pax: dict[str, str]) -> None:
    """A few kilobytes can declare a file of 20 MB that consists of thousands of holes."""
    member = tarfile.TarInfo("1.jpg")
    member.pax_headers = pax
    data = member.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
    with pytest.raises(ArchiveCorruptError, match="sparse"):
        read_photos(data, "a.tar")


def test_old_gnu_sparse_files_are_rejected() -> None:
    member = tarfile.TarInfo("1.jpg")
    member.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(ArchiveCorruptError, match="sparse"):
        read_photos(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024), "a.tar")


def header_with_size(name: str, size: int) -> bytes:
    """Returns a ustar header with any size, in base-256 encoding."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" + (size & ((1 << 88) - 1)).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def header_with_pax_size(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.pax_headers = {"size": str(size)}
    return member.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize("header", [header_with_size, header_with_pax_size])
@pytest.mark.parametrize("size", [-512, -1536, -(10**9)])
def test_negative_size_is_rejected(header: Callable[[str, int], bytes], size: int) -> None:
    """Otherwise, `tarfile` would return to a previous header and loop forever."""
    data = make_tar({"a.jpg": b"abc"})[:1024] + header("b.jpg", size) + bytes(2048)
    members = read_members(io.BytesIO(data), "a.tar")
    assert next(members).read() == b"abc"
    with pytest.raises(ArchiveCorruptError, match="a file of -"):
        next(members)


def test_links_and_folders_in_a_zip_are_skipped() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "a.jpg")
        archive.mkdir("album.jpg")
        archive.writestr("a.jpg", b"abc")
    assert read_photos(buffer.getvalue(), "a.zip") == {"a.jpg": b"abc"}


def test_declared_sizes_count_toward_the_limit() -> None:
    member = tarfile.TarInfo("1.jpg")
    member.size = 2_000_000
    with pytest.raises(ArchiveTooLargeError):
        read_photos(member.tobuf() + bytes(1024), "a.tar", limits=ArchiveLimits(size_bytes=10**6))


def test_global_headers_do_not_accumulate() -> None:
    """Each global header applies to all following members and adds another comment."""
    headers = b"".join(
        tarfile.TarInfo.create_pax_global_header({f"comment{number}": "x" * 50_000})
        + make_tar({f"{number}.jpg": b"x"})[:1024]
        for number in range(5)
    )
    assert len(read_photos(headers + bytes(1024), "a.tar")) == 5
    large = tarfile.TarInfo.create_pax_global_header({"comment": "x" * 70_000})
    with pytest.raises(ArchiveCorruptError, match="a header of 70,0"):
        read_photos(large + make_tar({"1.jpg": b"x"}), "a.tar")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_large_photos_in_an_uploaded_archive_are_read(method: int) -> None:
    photo = random.Random(7).randbytes(3_000_000)  # noqa: S311
    assert read_photos(make_zip({"1.jpg": photo}, method), "a.zip", limits=ARCHIVE_LIMITS) == {
        "1.jpg": photo
    }


def test_links_and_devices_in_a_tar_are_skipped() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member_type in (
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.CHRTYPE,
            tarfile.FIFOTYPE,
        ):
            member = tarfile.TarInfo(f"{member_type!r}.jpg")
            member.type, member.linkname = member_type, "/etc/passwd"
            archive.addfile(member)
    assert read_photos(buffer.getvalue(), "a.tar") == {}


@pytest.mark.parametrize("name", ["../../etc/1.jpg", "/etc/1.jpg", "C:\\1.jpg", "a\n1.jpg"])
@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_names_are_not_used_as_paths(
    name: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(read_photos(MAKERS[suffix]({name: b"x"}), f"a.{suffix}").values()) == [b"x"]
    assert list(tmp_path.iterdir()) == []


def damaged_variants(data: bytes) -> Iterable[bytes]:
    """Yields four damaged variants of an archive."""
    yield b""
    yield b"not an archive"
    yield data[: len(data) // 2]
    middle = len(data) // 2
    yield data[:middle] + random.Random(7).randbytes(2000) + data[middle + 2000 :]  # noqa: S311


@pytest.mark.parametrize("suffix", MAKERS)
def test_damaged_archives_raise_an_archive_error(suffix: str, files: Files) -> None:
    """Damage raises `ArchiveError` or changes a photo, but never raises another exception."""
    detected = 0
    for data in damaged_variants(MAKERS[suffix](files)):
        try:
            detected += read_photos(data, f"a.{suffix}") != files
        except ArchiveError:
            detected += 1
    assert detected == 4


def test_invalid_header_does_not_end_the_archive() -> None:
    data = bytearray(make_tar({"1.jpg": b"x", "2.jpg": b"y"}))
    data[1024:1536] = b"?" * 512
    members = read_members(io.BytesIO(bytes(data)), "a.tar")
    assert next(members).name == "1.jpg"
    with pytest.raises(ArchiveCorruptError, match="damaged"):
        next(members)


def test_photos_and_archives_are_detected_by_extension() -> None:
    assert is_photo("A.HEIC")
    assert not is_photo("heic")
    assert not is_archive("zip")
