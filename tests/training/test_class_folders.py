"""Photos collected class by class."""

from __future__ import annotations

from itertools import groupby

from vgg_demo.training.class_folders import ClassFolder, Sample, to_dataset


def burst(number: int, photos: int) -> list[Sample]:
    return [Sample(f"{number}.{index}.jpg", b"x", burst=number) for index in range(photos)]


def group_sizes(class_folder: ClassFolder) -> list[int]:
    """Returns the number of photos of each group, in order."""
    photos = to_dataset([class_folder]).photos
    runs = [(group, len(list(run))) for group, run in groupby(photo.group for photo in photos)]
    assert len({group for group, _ in runs}) == len(runs)
    return [count for _, count in runs]


def test_each_of_many_bursts_is_a_group() -> None:
    samples = [*burst(1, 20), *burst(2, 3), *burst(3, 1), *burst(4, 20)]
    assert group_sizes(ClassFolder(1, "mug", samples)) == [20, 3, 1, 20]


def test_few_bursts_are_divided_into_groups() -> None:
    samples = [*burst(1, 12), *burst(2, 6)]
    assert group_sizes(ClassFolder(1, "mug", samples)) == [5, 5, 2, 5, 1]


def test_uploads_have_no_group_and_do_not_divide_a_burst() -> None:
    uploads = [Sample("a.jpg", b"a", upload=1), Sample("b.jpg", b"b", upload=1)]
    photos = to_dataset([ClassFolder(1, "mug", [*uploads, *burst(1, 5)])]).photos
    assert [photo.group == "" for photo in photos] == [True] * 2 + [False] * 5
    assert len({photo.group for photo in photos[2:]}) == 1
    assert photos[0].label == "mug"
    assert photos[0].source.read() == b"a"


def test_bursts_of_different_classes_are_different_groups() -> None:
    photos = to_dataset(
        [ClassFolder(1, "mug", burst(1, 2)), ClassFolder(2, "none", burst(1, 2))]
    ).photos
    assert photos[0].group == photos[1].group != photos[2].group == photos[3].group


def test_remove_last_removes_the_last_burst_or_upload() -> None:
    samples = [*burst(1, 3), Sample("a.jpg", b"a", upload=1), *burst(2, 20)]
    class_folder = ClassFolder(1, "mug", samples)
    assert class_folder.last_count == 20
    class_folder.remove_last()
    assert class_folder.last_count == 1
    class_folder.remove_last()
    assert [photo.burst for photo in class_folder.photos] == [1, 1, 1]
    class_folder.remove_last()
    class_folder.remove_last()  # a second click arrives late
    assert (class_folder.photos, class_folder.last_count) == ([], 0)
