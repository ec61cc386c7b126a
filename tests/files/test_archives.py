"""Archives, those of strangers among them."""

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
from vgg_demo.ui.batch.run import LIMITS

Files = dict[str, bytes]
TAR_KINDS = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


def make_zip(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def make_tar(files: Files, kind: str = "tar") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=TAR_KINDS[kind]) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def contents(data: bytes, name: str, **limits: object) -> Files:
    return {member.name: member.read() for member in read_members(io.BytesIO(data), name, **limits)}


MAKERS: dict[str, Callable[[Files], bytes]] = {
    "zip": make_zip,
    **{kind: lambda files, kind=kind: make_tar(files, kind) for kind in TAR_KINDS},
}


@pytest.fixture
def files(photos: dict[str, bytes]) -> Files:
    return {"b/2.jpg": photos["cat"], "a/1.JPG": photos["dog"], "3.png": b"no picture"}


@pytest.mark.parametrize("kind", MAKERS)
def test_photos_come_in_the_archives_order(kind: str, files: Files) -> None:
    others = {"notes.txt": b"x", "__MACOSX/b/._2.jpg": b"x", "b/.hidden.jpg": b"x"}
    name = f"photos.{kind}"
    assert is_archive(name)
    found = contents(MAKERS[kind](others | files), name)
    assert found == files
    assert list(found) == list(files)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_member_is_read_no_further_than_a_photo_may_go(kind: str) -> None:
    data = MAKERS[kind]({"1.jpg": bytes(5000), "2.jpg": b"after it"})
    found = contents(data, f"a.{kind}", image_limits=ImageLimits(size_bytes=1000))
    assert found == {"1.jpg": bytes(1001), "2.jpg": b"after it"}


@pytest.mark.parametrize("kind", MAKERS)
def test_too_many_members(kind: str) -> None:
    data = MAKERS[kind]({f"{number}.jpg": b"x" for number in range(4)})
    assert len(contents(data, f"a.{kind}", limits=ArchiveLimits(members=4))) == 4
    with pytest.raises(ArchiveTooLargeError, match=r"more than 3 files, .* Divide it"):
        contents(data, f"a.{kind}", limits=ArchiveLimits(members=3))


@pytest.mark.parametrize("kind", MAKERS)
def test_a_bomb(kind: str) -> None:
    """Ten megabytes of nothing, packed into a few kilobytes."""
    data = MAKERS[kind]({"1.jpg": b"first", "2.jpg": bytes(10_000_000)})
    members = read_members(io.BytesIO(data), f"a.{kind}", ArchiveLimits(size_bytes=1_000_000))
    assert next(members).read() == b"first"
    with pytest.raises(ArchiveTooLargeError, match="unpacks to more than 1 MB"):
        list(members)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2"])
def test_a_header_that_wants_all_memory(kind: str) -> None:
    """The text of an extended header is read at once, whatever its size."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type = tarfile.XHDTYPE
    header.size = 30 * 2**20
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=TAR_KINDS[kind]) as archive:
        archive.addfile(header, io.BytesIO(bytes(header.size)))
    with pytest.raises(ArchiveCorruptError, match="a header of 31,457,280 bytes"):
        contents(buffer.getvalue(), f"a.{kind}")


def test_headers_of_headers() -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 0
    with pytest.raises(ArchiveCorruptError):
        contents(header.tobuf() * 5000 + make_tar({"1.jpg": b"x"}), "a.tar")


def test_a_directory_that_wants_all_memory() -> None:
    data = make_zip({"1.jpg": b"x"})
    end = data.rindex(b"PK\x05\x06")
    huge = 60_000_000
    claim = struct.pack("<II", huge, 0)
    whole = bytes(huge) + data[end : end + 12] + claim + data[end + 20 :]
    with pytest.raises(ArchiveError):
        contents(whole, "a.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_packing_that_unpack_without_limit(method: int) -> None:
    (member,) = read_members(io.BytesIO(make_zip({"1.jpg": bytes(10**6)}, method)), "a.zip")
    with pytest.raises(ArchiveCorruptError, match="with the usual method"):
        member.read()


def test_a_locked_member() -> None:
    data = bytearray(make_zip({"1.jpg": b"x"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    (member,) = read_members(io.BytesIO(bytes(data)), "a.zip")
    with pytest.raises(ArchiveCorruptError, match="locked with a password"):
        member.read()


@pytest.mark.parametrize(
    "pax",
    [
        {"GNU.sparse.map": "0,1," * 4_000, "GNU.sparse.size": "20000000"},
        {"GNU.sparse.size": "20000000", "GNU.sparse.numblocks": "1"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "20000000"},
    ],
)
def test_sparse_files_are_refused(pax: dict[str, str]) -> None:
    """Some kilobytes could say: twenty megabytes of holes, four thousand of them."""
    member = tarfile.TarInfo("1.jpg")
    member.pax_headers = pax
    data = member.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
    with pytest.raises(ArchiveCorruptError, match="sparse"):
        contents(data, "a.tar")


def test_old_sparse_files_are_refused() -> None:
    member = tarfile.TarInfo("1.jpg")
    member.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(ArchiveCorruptError, match="sparse"):
        contents(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024), "a.tar")


def with_size(name: str, size: int) -> bytes:
    """Returns a header of ustar with any size, as base-256 holds it."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" + (size & ((1 << 88) - 1)).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def with_pax_size(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.pax_headers = {"size": str(size)}
    return member.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize("header", [with_size, with_pax_size])
@pytest.mark.parametrize("size", [-512, -1536, -(10**9)])
def test_a_file_of_less_than_nothing_leads_nowhere(
    header: Callable[[str, int], bytes], size: int
) -> None:
    """It would lead back to a header that was read already, and to it again, for ever."""
    data = make_tar({"a.jpg": b"abc"})[:1024] + header("b.jpg", size) + bytes(2048)
    members = read_members(io.BytesIO(data), "a.tar")
    assert next(members).read() == b"abc"
    with pytest.raises(ArchiveCorruptError, match="a file of -"):
        next(members)


def test_links_and_folders_in_a_zip_are_passed_over() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "a.jpg")
        archive.mkdir("album.jpg")
        archive.writestr("a.jpg", b"abc")
    assert contents(buffer.getvalue(), "a.zip") == {"a.jpg": b"abc"}


def test_what_members_say_of_their_size_counts() -> None:
    member = tarfile.TarInfo("1.jpg")
    member.size = 2_000_000
    with pytest.raises(ArchiveTooLargeError):
        contents(member.tobuf() + bytes(1024), "a.tar", limits=ArchiveLimits(size_bytes=10**6))


def test_headers_for_all_are_not_remembered() -> None:
    """Extended headers for all members that follow; each says something else."""
    headers = b"".join(
        tarfile.TarInfo.create_pax_global_header({f"comment{number}": "x" * 50_000})
        + make_tar({f"{number}.jpg": b"x"})[:1024]
        for number in range(5)
    )
    assert len(contents(headers + bytes(1024), "a.tar")) == 5
    large = tarfile.TarInfo.create_pax_global_header({"comment": "x" * 70_000})
    with pytest.raises(ArchiveCorruptError, match="a header of 70,0"):
        contents(large + make_tar({"1.jpg": b"x"}), "a.tar")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_large_photos_in_an_archive_of_a_visitor(method: int) -> None:
    photo = random.Random(7).randbytes(3_000_000)  # noqa: S311
    assert contents(make_zip({"1.jpg": photo}, method), "a.zip", limits=LIMITS) == {"1.jpg": photo}


def test_links_and_devices_are_passed_over() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"{kind!r}.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert contents(buffer.getvalue(), "a.tar") == {}


@pytest.mark.parametrize("name", ["../../etc/1.jpg", "/etc/1.jpg", "C:\\1.jpg", "a\n1.jpg"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_are_only_names(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(contents(MAKERS[kind]({name: b"x"}), f"a.{kind}").values()) == [b"x"]
    assert list(tmp_path.iterdir()) == []


def damaged(data: bytes) -> Iterable[bytes]:
    yield b""
    yield b"no archive"
    yield data[: len(data) // 2]
    middle = len(data) // 2
    yield data[:middle] + random.Random(7).randbytes(2000) + data[middle + 2000 :]  # noqa: S311


@pytest.mark.parametrize("kind", MAKERS)
def test_damage(kind: str, files: Files) -> None:
    """It ends in our error, or is a photo that cannot be decoded; never in another way."""
    wrong = 0
    for data in damaged(MAKERS[kind](files)):
        try:
            wrong += contents(data, f"a.{kind}") != files
        except ArchiveError:
            wrong += 1
    assert wrong == 4


def test_a_header_that_is_none_is_no_end() -> None:
    data = bytearray(make_tar({"1.jpg": b"x", "2.jpg": b"y"}))
    data[1024:1536] = b"?" * 512
    members = read_members(io.BytesIO(bytes(data)), "a.tar")
    assert next(members).name == "1.jpg"
    with pytest.raises(ArchiveCorruptError, match="damaged"):
        next(members)


def test_a_suffix_tells_a_photo() -> None:
    assert is_photo("A.HEIC")
    assert not is_photo("heic")
    assert not is_archive("zip")
