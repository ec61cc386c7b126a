"""Sorting photos into class folders."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from vgg_demo.errors import FileUnreadableError, FileUnwritableError
from vgg_demo.files.sorting import sort_photo
from vgg_demo.files.sources import Source, find_photos


def sort_unchanged(
    photo: Source, folder: Path, label: str = "tabby", *, move: bool = False
) -> Path:
    """Sorts a photo that has not changed since it was classified."""
    sha256 = hashlib.sha256(photo.read()).hexdigest()
    return sort_photo(photo, sha256, label, folder, move=move)


@pytest.fixture
def photo(tmp_path: Path) -> Source:
    return on_disk(tmp_path / "in" / "a.jpg", b"a photo")


def on_disk(path: Path, data: bytes) -> Source:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(data)
    (source,) = find_photos([str(path)])
    return source


def test_photo_is_copied_or_moved(photo: Source, tmp_path: Path) -> None:
    target = tmp_path / "out" / "tabby" / "a.jpg"
    assert sort_unchanged(photo, tmp_path / "out") == target
    assert target.read_bytes() == photo.path.read_bytes() == b"a photo"
    assert sort_unchanged(photo, tmp_path / "out", move=True) == target
    assert target.read_bytes() == b"a photo"
    assert not photo.path.exists()


def test_photos_with_the_same_name_are_numbered(photo: Source, tmp_path: Path) -> None:
    sort_unchanged(photo, tmp_path / "out")
    photos = [on_disk(tmp_path / folder / "a.jpg", folder.encode()) for folder in ("x", "y")]
    for _ in range(2):  # repeating changes nothing
        paths = [sort_unchanged(other, tmp_path / "out") for other in photos]
        assert [path.name for path in paths] == ["a-2.jpg", "a-3.jpg"]
    assert len(list((tmp_path / "out" / "tabby").iterdir())) == 3


@pytest.mark.parametrize(
    "name", ["a.zip/../../evil.jpg", "a.zip//etc/evil.jpg", "a.zip/..\\..\\evil.jpg"]
)
def test_names_cannot_leave_the_folder(name: str, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert sort_unchanged(Source(name, lambda: b"x"), out) == out / "tabby" / "evil.jpg"
    assert sort_unchanged(Source("a.jpg", lambda: b"x"), out, "../up").parent == out / "_.._up"


def test_long_names_are_truncated(tmp_path: Path) -> None:
    written = sort_unchanged(Source("é" * 300 + ".jpg", lambda: b"x"), tmp_path)
    assert written.suffix == ".jpg"
    assert written.exists()


def test_unwritable_folder_raises_an_error(photo: Source, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileUnwritableError, match="Choose another folder"):
        sort_unchanged(photo, tmp_path / "file")
    assert photo.path.exists()


def test_missing_photo_raises_an_error(photo: Source, tmp_path: Path) -> None:
    photo.path.unlink()
    with pytest.raises(FileUnreadableError):
        sort_unchanged(photo, tmp_path / "out", move=True)


def test_photo_already_in_its_folder_is_kept(tmp_path: Path) -> None:
    photo = on_disk(tmp_path / "out" / "tabby" / "a.jpg", b"a photo")
    assert sort_unchanged(photo, tmp_path / "out", move=True) == photo.path
    assert photo.path.read_bytes() == b"a photo"


def test_changed_photo_is_not_moved(photo: Source, tmp_path: Path) -> None:
    """The file may have been incomplete when it was classified."""
    sha256 = hashlib.sha256(photo.read()).hexdigest()
    photo.path.write_bytes(b"a photo and more")
    with pytest.raises(FileUnreadableError, match="has changed"):
        sort_photo(photo, sha256, "tabby", tmp_path / "out", move=True)
    assert photo.path.read_bytes() == b"a photo and more"


def test_times_and_permissions_are_preserved(photo: Source, tmp_path: Path) -> None:
    os.utime(photo.path, (0, 1_000_000_000))
    photo.path.chmod(0o600)
    for move in (False, True):
        state = sort_unchanged(photo, tmp_path / str(move), move=move).stat()
        assert (state.st_mtime, state.st_mode & 0o777) == (1_000_000_000, 0o600)


def test_symbolic_links_are_not_moved(photo: Source, tmp_path: Path) -> None:
    link = tmp_path / "link.jpg"
    link.symlink_to(photo.path)
    (source,) = find_photos([str(link)])
    assert sort_unchanged(source, tmp_path / "out", move=True).read_bytes() == b"a photo"
    assert link.is_symlink()
    assert photo.path.exists()
