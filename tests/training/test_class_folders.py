"""Photos that are collected kind by kind."""

from __future__ import annotations

from itertools import groupby

from vgg_demo.training.class_folders import ClassFolder, Sample, to_dataset


def row(number: int, photos: int) -> list[Sample]:
    return [Sample(f"{number}.{place}.jpg", b"x", row=number) for place in range(photos)]


def together(class_folder: ClassFolder) -> list[int]:
    """Returns how many photos stay together, group for group."""
    photos = to_dataset([class_folder]).photos
    runs = [(group, len(list(found))) for group, found in groupby(one.group for one in photos)]
    assert len({group for group, _ in runs}) == len(runs)
    return [count for _, count in runs]


def test_rows_stay_together() -> None:
    assert together(ClassFolder(1, "mug", [*row(1, 20), *row(2, 3), *row(3, 1), *row(4, 20)])) == [
        20, 3, 1, 20,
    ]  # fmt: skip


def test_of_few_rows_parts_stay_together() -> None:
    assert together(ClassFolder(1, "mug", [*row(1, 12), *row(2, 6)])) == [5, 5, 2, 5, 1]


def test_uploads_stand_alone_and_change_no_row() -> None:
    uploads = [Sample("a.jpg", b"a", upload=1), Sample("b.jpg", b"b", upload=1)]
    photos = to_dataset([ClassFolder(1, "mug", [*uploads, *row(1, 5)])]).photos
    assert [one.group == "" for one in photos] == [True] * 2 + [False] * 5
    assert len({one.group for one in photos[2:]}) == 1
    assert photos[0].label == "mug"
    assert photos[0].source.read() == b"a"


def test_rows_of_different_kinds_do_not_stay_together() -> None:
    photos = to_dataset(
        [ClassFolder(1, "mug", row(1, 2)), ClassFolder(2, "none", row(1, 2))]
    ).photos
    assert photos[0].group == photos[1].group != photos[2].group == photos[3].group


def test_what_came_last_is_taken_out() -> None:
    class_folder = ClassFolder(1, "mug", [*row(1, 3), Sample("a.jpg", b"a", upload=1), *row(2, 20)])
    assert class_folder.last_count == 20
    class_folder.take_out_last()
    assert class_folder.last_count == 1
    class_folder.take_out_last()
    assert [photo.row for photo in class_folder.photos] == [1, 1, 1]
    class_folder.take_out_last()
    class_folder.take_out_last()  # a second click comes late
    assert (class_folder.photos, class_folder.last_count) == ([], 0)
