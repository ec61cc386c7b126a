"""Photos in files, folders, patterns and archives, and their order."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from tests.files.test_archives import make_tar, make_zip
from vgg_demo.errors import ArchiveCorruptError, FileUnreadableError, NoPhotosError
from vgg_demo.files.sources import Source, count_photos, find_in_upload, find_photos
from vgg_demo.limits import DEFAULT_LIMITS, ArchiveLimits


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos (each contains its own name), archives and other files."""
    for name in ("b.jpg", "a.PNG", "sub/deep/c.webp", "sub/d.jpeg", ".git/e.jpg", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "more.zip").write_bytes(make_zip({"x/1.jpg": b"1", "2.jpg": b"2"}))
    (tmp_path / "more.tar").write_bytes(make_tar({"3.jpg": b"3"}))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*paths: str) -> list[str]:
    return [source.name.replace(os.sep, "/") for source in find_photos(paths)]


def check_error(source: Source, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        source.read()


@pytest.mark.usefixtures("folder")
def test_photos_are_found_in_the_order_of_the_paths() -> None:
    assert names("more.zip", "notes.txt", "sub", "b.jpg", "more.tar") == [
        "more.zip/x/1.jpg", "more.zip/2.jpg", "notes.txt", "sub/d.jpeg", "sub/deep/c.webp",
        "b.jpg", "more.tar/3.jpg",
    ]  # fmt: skip


@pytest.mark.usefixtures("folder")
def test_folders_are_searched_recursively() -> None:
    sources = list(find_photos(["."]))
    assert [source.name for source in sources] == [
        f".{os.sep}" + name.replace("/", os.sep)
        for name in ("a.PNG", "b.jpg", "sub/d.jpeg", "sub/deep/c.webp")
    ]
    assert [source.read() for source in sources] == [
        b"a.PNG",
        b"b.jpg",
        b"sub/d.jpeg",
        b"sub/deep/c.webp",
    ]
    assert sources[0].path == Path("a.PNG")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["b.jpg"]),
        ("sub/*", ["sub/d.jpeg", "sub/deep/c.webp"]),
        ("**/*.[jw]*", ["b.jpg", "sub/d.jpeg", "sub/deep/c.webp"]),
        ("more.*", ["more.tar/3.jpg", "more.zip/x/1.jpg", "more.zip/2.jpg"]),
    ],
)
def test_patterns_are_expanded(pattern: str, expected: list[str]) -> None:
    assert names(pattern) == expected


def test_existing_file_with_a_pattern_as_its_name_is_found(folder: Path) -> None:
    (folder / "[1].jpg").write_bytes(b"x")
    assert names("[1].jpg") == ["[1].jpg"]


@pytest.mark.usefixtures("folder")
def test_path_that_cannot_be_listed_becomes_a_source_with_an_error() -> None:
    Path("bad.zip").write_bytes(b"not an archive")
    empty, unmatched, damaged, missing, photo = find_photos(
        ["empty", "*.gif", "bad.zip", "missing.zip", "b.jpg"]
    )
    check_error(empty, NoPhotosError, "no photos in 'empty'")
    check_error(unmatched, NoPhotosError, r"no photos in '\*.gif'")
    check_error(damaged, ArchiveCorruptError, "'bad.zip' is damaged")
    check_error(missing, FileUnreadableError, "Cannot read 'missing.zip'")
    assert photo.read() == b"b.jpg"


@pytest.mark.usefixtures("folder")
def test_photos_before_the_damage_are_found() -> None:
    whole = make_tar({"1.jpg": b"1", "2.jpg": bytes(2000)})
    Path("cut.tar").write_bytes(whole[:2048])
    first, *_, last = find_photos(["cut.tar"])
    assert (first.name, first.read()) == ("cut.tar/1.jpg", b"1")
    check_error(last, ArchiveCorruptError, "damaged")


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_links_to_folders_are_not_followed(folder: Path) -> None:
    (folder / "sub" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "sub" / "link.jpg").symlink_to(folder / "b.jpg")
    assert names("sub") == ["sub/d.jpeg", "sub/link.jpg", "sub/deep/c.webp"]


@pytest.mark.usefixtures("folder")
def test_photos_are_counted() -> None:
    assert count_photos([".", "more.zip", "missing.jpg"]) == 7
    assert count_photos(["more.tar"]) is None  # requires unpacking


def test_members_can_be_read_repeatedly(folder: Path) -> None:
    for name in ("more.zip", "more.tar"):
        sources = list(find_photos([name]))
        for _ in range(2):
            assert sources[-1].read() == {"more.zip": b"2", "more.tar": b"3"}[name]


def test_photos_in_uploads_are_found() -> None:
    limits = ArchiveLimits(members=2)
    (photo,) = find_in_upload("a.jpg", io.BytesIO(b"x"), DEFAULT_LIMITS, limits)
    assert (photo.name, photo.read(), photo.read(), photo.path) == ("a.jpg", b"x", b"x", None)
    archive = io.BytesIO(make_zip({"1.jpg": b"1", "2.jpg": b"2"}))
    sources = find_in_upload("a.zip", archive, DEFAULT_LIMITS, limits)
    assert [source.name for source in sources] == ["a.zip/1.jpg", "a.zip/2.jpg"]
