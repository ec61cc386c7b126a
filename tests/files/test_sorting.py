"""Photos sorted into folders."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from vgg_demo.errors import FileUnreadableError, FileUnwritableError
from vgg_demo.files.sorting import file_photo
from vgg_demo.files.sources import Source, find_photos


def file(photo: Source, folder: Path, label: str = "tabby", *, move: bool = False) -> Path:
    """Files a photo as one that was looked at and has not changed since."""
    sha256 = hashlib.sha256(photo.read()).hexdigest()
    return file_photo(photo, sha256, label, folder, move=move)


@pytest.fixture
def photo(tmp_path: Path) -> Source:
    return on_disk(tmp_path / "in" / "a.jpg", b"a photo")


def on_disk(path: Path, data: bytes) -> Source:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(data)
    (source,) = find_photos([str(path)])
    return source


def test_copied_unless_it_is_to_be_moved(photo: Source, tmp_path: Path) -> None:
    target = tmp_path / "out" / "tabby" / "a.jpg"
    assert file(photo, tmp_path / "out") == target
    assert target.read_bytes() == photo.path.read_bytes() == b"a photo"
    assert file(photo, tmp_path / "out", move=True) == target
    assert target.read_bytes() == b"a photo"
    assert not photo.path.exists()


def test_other_photos_of_the_name_are_numbered(photo: Source, tmp_path: Path) -> None:
    file(photo, tmp_path / "out")
    others = [on_disk(tmp_path / place / "a.jpg", place.encode()) for place in ("x", "y")]
    for _ in range(2):  # the same once more changes nothing
        paths = [file(other, tmp_path / "out") for other in others]
        assert [path.name for path in paths] == ["a-2.jpg", "a-3.jpg"]
    assert len(list((tmp_path / "out" / "tabby").iterdir())) == 3


@pytest.mark.parametrize(
    "name", ["a.zip/../../evil.jpg", "a.zip//etc/evil.jpg", "a.zip/..\\..\\evil.jpg"]
)
def test_names_lead_nowhere(name: str, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert file(Source(name, lambda: b"x"), out) == out / "tabby" / "evil.jpg"
    assert file(Source("a.jpg", lambda: b"x"), out, "../up").parent == out / "_.._up"


def test_long_names_are_cut(tmp_path: Path) -> None:
    written = file(Source("é" * 300 + ".jpg", lambda: b"x"), tmp_path)
    assert written.suffix == ".jpg"
    assert written.exists()


def test_where_it_cannot_be_written(photo: Source, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileUnwritableError, match="Choose another folder"):
        file(photo, tmp_path / "file")
    assert photo.path.exists()


def test_what_is_gone(photo: Source, tmp_path: Path) -> None:
    photo.path.unlink()
    with pytest.raises(FileUnreadableError):
        file(photo, tmp_path / "out", move=True)


def test_a_photo_that_is_there_already_is_not_lost(tmp_path: Path) -> None:
    photo = on_disk(tmp_path / "out" / "tabby" / "a.jpg", b"a photo")
    assert file(photo, tmp_path / "out", move=True) == photo.path
    assert photo.path.read_bytes() == b"a photo"


def test_a_photo_that_has_changed_stays_where_it_is(photo: Source, tmp_path: Path) -> None:
    """It may still be on its way: what was looked at was its beginning."""
    sha256 = hashlib.sha256(photo.read()).hexdigest()
    photo.path.write_bytes(b"a photo and more")
    with pytest.raises(FileUnreadableError, match="has changed"):
        file_photo(photo, sha256, "tabby", tmp_path / "out", move=True)
    assert photo.path.read_bytes() == b"a photo and more"


def test_times_and_permissions_stay(photo: Source, tmp_path: Path) -> None:
    os.utime(photo.path, (0, 1_000_000_000))
    photo.path.chmod(0o600)
    for move in (False, True):
        state = file(photo, tmp_path / str(move), move=move).stat()
        assert (state.st_mtime, state.st_mode & 0o777) == (1_000_000_000, 0o600)


def test_links_are_not_moved(photo: Source, tmp_path: Path) -> None:
    link = tmp_path / "link.jpg"
    link.symlink_to(photo.path)
    (source,) = find_photos([str(link)])
    assert file(source, tmp_path / "out", move=True).read_bytes() == b"a photo"
    assert link.is_symlink()
    assert photo.path.exists()
