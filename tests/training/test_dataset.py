"""Labeled photos, their inspection, and the train/validation split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vgg_demo.errors import DatasetError, TableError, VggDemoError
from vgg_demo.files.sources import Source, find_photos
from vgg_demo.images.decode import decode
from vgg_demo.models.custom import MAX_LABEL_LENGTH
from vgg_demo.training.dataset import (
    Columns,
    LabeledPhoto,
    check_classes,
    drop_rare_labels,
    label_by_folders,
    label_by_table,
)
from vgg_demo.training.inspection import (
    RECOMMENDED_PHOTOS,
    InspectedPhoto,
    find_duplicates,
    fingerprint,
    inspect_photos,
    report_issues,
)
from vgg_demo.training.records import InspectedDataset
from vgg_demo.training.split import split


def sources(*names: str) -> list[Source]:
    return [Source(name, bytes) for name in names]


def test_folder_names_become_labels() -> None:
    dataset = label_by_folders(
        sources(
            "d/train/cat/1.jpg", "d/test/cat/2.jpg", "a.zip/hot_dog/3.jpg", "d\\dog\\4.jpg", "5.jpg"
        )
    )
    assert [photo.label for photo in dataset.photos] == ["cat", "cat", "hot dog", "dog"]
    assert dataset.counts == {"cat": 2, "dog": 1, "hot dog": 1}
    assert dataset.unlabeled == ("5.jpg",)


def test_labels_are_printable_and_short() -> None:
    (photo,) = label_by_folders(sources("a\n\x1b[31m" + "b" * 200 + "/1.jpg")).photos
    assert photo.label.isprintable()
    assert len(photo.label) == MAX_LABEL_LENGTH


def test_a_label_table_can_have_other_column_names() -> None:
    text = "\ufeffid,class,owner\n1,Hat,a\ncats/2.jpg,Shoes,b\n9,Hat,a\n"
    dataset = label_by_table(
        sources("x/1.jpg", "x/cats/2.jpg", "x/dogs/2.jpg"), text, Columns("id", "class", "owner")
    )
    labeled = [(photo.source.name, photo.label, photo.group) for photo in dataset.photos]
    assert labeled == [("x/1.jpg", "Hat", "a"), ("x/cats/2.jpg", "Shoes", "b")]
    assert (dataset.unlabeled, dataset.missing) == (("x/dogs/2.jpg",), ("9",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the columns \(none\), but no 'image' and no 'label'"),
        ("image,class\n1,cat\n", "but no 'label'"),
        ("image,label\n1,cat\n1,dog\n", "different rows for '1'"),
    ],
)
def test_invalid_label_tables_are_rejected(text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        label_by_table(sources("1.jpg"), text)


def test_sources_without_photos_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "a.zip").write_bytes(b"no archive")
    for name, message in (
        ("cats", "no photos"),
        ("a.zip", "damaged"),
        ("no.txt", "No such file"),
    ):
        with pytest.raises(VggDemoError, match=f"(?i){message}"):
            label_by_folders(find_photos([str(tmp_path / name)]))


def test_rare_labels_are_dropped() -> None:
    dataset = drop_rare_labels(label_by_folders(sources("a/1.jpg", "a/2.jpg", "b/3.jpg")), 2)
    assert (dataset.counts, dataset.dropped) == ({"a": 2}, {"b": 1})


def test_too_few_or_too_many_classes_are_rejected() -> None:
    for labels, message in (
        ([], "no labels"),
        (["cat"], "only 'cat'"),
        (list(map(str, range(201))), "201"),
    ):
        with pytest.raises(DatasetError, match=message):
            check_classes(labels)
    check_classes(["cat", "dog"])


def make_inspected(
    label: str, *, group: str = "", size: tuple[int, int] = (300, 300), seed: int = 0
) -> InspectedPhoto:
    words = np.random.default_rng(seed).integers(0, 2**63, 4, dtype=np.uint64)
    return InspectedPhoto(
        LabeledPhoto(Source(f"{label}{seed}", bytes), label, group), "", *size, 1, words, b""
    )


def test_report_lists_all_issues() -> None:
    photos = [make_inspected("cat", seed=seed) for seed in range(30)]
    photos += [make_inspected("dog", seed=3), make_inspected("dog", size=(100, 300), seed=40)]
    photos += [make_inspected("dog", size=(900, 250), seed=41)]
    report = report_issues(photos, 224)
    assert report.counts == {"cat": 30, "dog": 3}
    assert report.duplicates == report.conflicting_labels == ((3, 30),)
    assert report.small_classes == {"dog": 3}
    assert report.small_classes["dog"] < RECOMMENDED_PHOTOS
    assert report.imbalance == 10
    assert (report.low_resolution, report.extreme_aspect_ratio) == ((31,), (32,))


def test_duplicates_merge_groups() -> None:
    photos = [
        replace(
            make_inspected("cat", seed=seed), photo=LabeledPhoto(Source("", bytes), "cat", group)
        )
        for seed, group in [(0, "a"), (1, "a"), (1, "b"), (2, "b"), (3, ""), (4, "c")]
    ]
    groups = InspectedDataset(tuple(photos), (), report_issues(photos, 224)).groups()
    assert groups == ["group a"] * 4 + ["photo 4", "group c"]


def test_fingerprints_match_scaled_and_recompressed_photos(
    photos: dict[str, bytes], encode: Callable[..., bytes]
) -> None:
    images = {name: decode(data) for name, data in photos.items()}
    fingerprints = [fingerprint(image) for image in images.values()]
    assert find_duplicates(fingerprints) == ()
    cat = images["cat"]
    scaled = cat.resize((cat.width // 3, cat.height // 3), Image.Resampling.BICUBIC)
    recompressed = decode(encode(cat, "JPEG", quality=40))
    fingerprints += [fingerprint(scaled), fingerprint(recompressed)]
    assert find_duplicates(fingerprints) == ((0, 6, 7),)


def test_photos_are_inspected_in_order(tmp_path: Path, photos: dict[str, bytes]) -> None:
    for number in range(20):
        data = photos["cat"] if number % 5 else b"no photo"
        (tmp_path / f"{number:02}.jpg").write_bytes(data)
    labeled = [LabeledPhoto(source, "x") for source in find_photos([str(tmp_path)])]
    inspected = list(inspect_photos(labeled, with_thumbnails=True))
    assert [isinstance(photo, InspectedPhoto) for photo in inspected] == [
        number % 5 > 0 for number in range(20)
    ]
    thumbnail = decode(inspected[1].thumbnail)
    assert thumbnail.size == (160, 107) or max(thumbnail.size) == 160


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 60), min_size=2),
    st.floats(0.05, 0.5),
    st.integers(0, 10),
)
def test_split_is_stratified(counts: dict[str, int], fraction: float, seed: int) -> None:
    labels = [label for label, count in counts.items() for _ in range(count)]
    parts = split(labels, validation_fraction=fraction, seed=seed)
    assert sorted(parts.training + parts.validation) == list(range(len(labels)))
    held_out = Counter(labels[index] for index in parts.validation)
    for label, count in counts.items():
        assert held_out[label] == min(max(1, round(fraction * count)), count - 1)
    assert parts == split(labels, validation_fraction=fraction, seed=seed)


def test_another_seed_gives_another_split() -> None:
    labels = ["a", "b"] * 50
    assert split(labels, seed=0) != split(labels, seed=1)


def test_groups_are_not_split() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 300).tolist()
    labels = [f"{group % 4}" for group in groups]
    parts = split(labels, groups)
    training_groups = {groups[index] for index in parts.training}
    assert not training_groups & {groups[index] for index in parts.validation}
    held_out = Counter(labels[index] for index in parts.validation)
    for label, count in Counter(labels).items():
        assert 0.1 < held_out[label] / count < 0.3


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=2, max_size=5), min_size=2, max_size=4),
    st.integers(0, 5),
)
def test_each_class_with_several_groups_is_on_both_sides(sizes: list[list[int]], seed: int) -> None:
    """This holds even if a single group exceeds the desired number of validation photos."""
    labels, groups = [], []
    for label, counts in enumerate(sizes):
        for group, count in enumerate(counts):
            labels += [str(label)] * count
            groups += [(label, group)] * count
    parts = split(labels, groups, seed=seed)
    for side in (parts.training, parts.validation):
        assert {labels[index] for index in side} == set(labels)


def test_uniform_backgrounds_are_not_duplicates() -> None:
    fingerprints = []
    for number in range(20):
        image = Image.new("RGB", (200, 200), "white")
        image.paste((200, 30, 30), (80 + number, 90, 120 + number, 130))
        fingerprints.append(fingerprint(image))
    assert find_duplicates(fingerprints) == ()


def test_a_class_with_a_single_group_is_used_for_training() -> None:
    parts = split(["a"] * 5 + ["b"] * 5, ["group"] * 5 + list("vwxyz"))
    assert set(range(5)) <= set(parts.training)
    assert len(parts.validation) == 1


def test_a_table_name_that_matches_two_photos_is_rejected() -> None:
    photos = sources("a/1.jpg", "b/1.jpg")
    with pytest.raises(TableError, match=r"'1' in the label table matches two photos, 'a/1.jpg'"):
        label_by_table(photos, "image,label\n1,cat\n")
    dataset = label_by_table(photos, "image,label\na/1,cat\nb/1,dog\n")
    assert [photo.label for photo in dataset.photos] == ["cat", "dog"]


def test_labels_that_differ_only_in_case_are_reported() -> None:
    labels = ("Cat", "cat", "dog", "dog")
    fingerprints = np.arange(16, dtype=np.uint64).reshape(4, 4)
    photos = [
        InspectedPhoto(
            LabeledPhoto(Source(str(index), bytes), label),
            "", 300, 300, 1, fingerprints[index], b"",
        )
        for index, label in enumerate(labels)
    ]  # fmt: skip
    assert report_issues(photos, 224).similar_labels == (("Cat", "cat"),)


def test_an_archive_without_folders_holds_one_class() -> None:
    dataset = label_by_folders(sources("mugs.zip/1.jpg", "x/cups.tar.gz/2.jpg"))
    assert [photo.label for photo in dataset.photos] == ["mugs", "cups"]
