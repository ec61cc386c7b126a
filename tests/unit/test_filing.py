"""Photos sorted into folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from vgg_demo.errors import FileUnreadableError, FileUnwritableError
from vgg_demo.filing import file_photo
from vgg_demo.results import Prediction
from vgg_demo.sources import Source, find_photos

CAT = Prediction(1, 281, "n02123045", "tabby", 0.9)


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
    assert file_photo(photo, CAT, tmp_path / "out") == target
    assert target.read_bytes() == photo.path.read_bytes() == b"a photo"
    assert file_photo(photo, CAT, tmp_path / "out", move=True) == target
    assert target.read_bytes() == b"a photo"
    assert not photo.path.exists()


def test_other_photos_of_the_name_are_numbered(photo: Source, tmp_path: Path) -> None:
    file_photo(photo, CAT, tmp_path / "out")
    others = [on_disk(tmp_path / place / "a.jpg", place.encode()) for place in ("x", "y")]
    for _ in range(2):  # the same once more changes nothing
        paths = [file_photo(other, CAT, tmp_path / "out") for other in others]
        assert [path.name for path in paths] == ["a-2.jpg", "a-3.jpg"]
    assert len(list((tmp_path / "out" / "tabby").iterdir())) == 3


@pytest.mark.parametrize(
    "name", ["a.zip/../../evil.jpg", "a.zip//etc/evil.jpg", "a.zip/..\\..\\evil.jpg"]
)
def test_names_lead_nowhere(name: str, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert file_photo(Source(name, lambda: b"x"), CAT, out) == out / "tabby" / "evil.jpg"
    label = Prediction(1, 0, "n0", "../up", 1.0)
    assert file_photo(Source("a.jpg", lambda: b"x"), label, out).parent == out / "_.._up"


def test_long_names_are_cut(tmp_path: Path) -> None:
    written = file_photo(Source("é" * 300 + ".jpg", lambda: b"x"), CAT, tmp_path)
    assert written.suffix == ".jpg"
    assert written.exists()


def test_where_it_cannot_be_written(photo: Source, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileUnwritableError, match="Choose another folder"):
        file_photo(photo, CAT, tmp_path / "file")
    assert photo.path.exists()


def test_what_is_gone(photo: Source, tmp_path: Path) -> None:
    photo.path.unlink()
    with pytest.raises(FileUnreadableError):
        file_photo(photo, CAT, tmp_path / "out", move=True)


def test_a_photo_that_is_there_already_is_not_lost(tmp_path: Path) -> None:
    photo = on_disk(tmp_path / "out" / "tabby" / "a.jpg", b"a photo")
    assert file_photo(photo, CAT, tmp_path / "out", move=True) == photo.path
    assert photo.path.read_bytes() == b"a photo"
