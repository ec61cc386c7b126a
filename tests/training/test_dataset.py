"""Photos with labels, what may be wrong with them, and how they are split."""

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
from vgg_demo.training.data import InspectedDataset
from vgg_demo.training.dataset import (
    Columns,
    LabeledPhoto,
    check_classes,
    drop_rare_labels,
    label_by_folders,
    label_by_table,
)
from vgg_demo.training.inspection import (
    FEW,
    InspectedPhoto,
    find_twins,
    fingerprint,
    inspect_photos,
    report_issues,
)
from vgg_demo.training.split import split


def named(*names: str) -> list[Source]:
    return [Source(name, bytes) for name in names]


def test_folders_are_labels() -> None:
    dataset = label_by_folders(
        named(
            "d/train/cat/1.jpg", "d/test/cat/2.jpg", "a.zip/hot_dog/3.jpg", "d\\dog\\4.jpg", "5.jpg"
        )
    )
    assert [photo.label for photo in dataset.photos] == ["cat", "cat", "hot dog", "dog"]
    assert dataset.counts == {"cat": 2, "dog": 1, "hot dog": 1}
    assert dataset.unlabeled == ("5.jpg",)


def test_labels_are_made_fit_for_charts() -> None:
    (photo,) = label_by_folders(named("a\n\x1b[31m" + "b" * 200 + "/1.jpg")).photos
    assert photo.label.isprintable()
    assert len(photo.label) == MAX_LABEL_LENGTH


def test_a_table_with_other_columns() -> None:
    text = "\ufeffid,kind,who\n1,Hat,a\ncats/2.jpg,Shoes,b\n9,Hat,a\n"
    dataset = label_by_table(
        named("x/1.jpg", "x/cats/2.jpg", "x/dogs/2.jpg"), text, Columns("id", "kind", "who")
    )
    found = [(photo.source.name, photo.label, photo.group) for photo in dataset.photos]
    assert found == [("x/1.jpg", "Hat", "a"), ("x/cats/2.jpg", "Shoes", "b")]
    assert (dataset.unlabeled, dataset.missing) == (("x/dogs/2.jpg",), ("9",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"the columns \(none\), and no 'image' and no 'label'"),
        ("image,kind\n1,cat\n", "and no 'label'"),
        ("image,label\n1,cat\n1,dog\n", "says two things of '1'"),
    ],
)
def test_tables_that_are_none(text: str, words: str) -> None:
    with pytest.raises(TableError, match=words):
        label_by_table(named("1.jpg"), text)


def test_where_no_photos_are(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "a.zip").write_bytes(b"no archive")
    for name, words in (("cats", "no photos in"), ("a.zip", "damaged"), ("no.txt", "No such file")):
        with pytest.raises(VggDemoError, match=words):
            label_by_folders(find_photos([str(tmp_path / name)]))


def test_rare_labels_are_dropped() -> None:
    dataset = drop_rare_labels(label_by_folders(named("a/1.jpg", "a/2.jpg", "b/3.jpg")), 2)
    assert (dataset.counts, dataset.dropped) == ({"a": 2}, {"b": 1})


def test_what_nothing_can_be_learned_from() -> None:
    for labels, words in (
        ([], "no label"),
        (["cat"], "only 'cat'"),
        (list(map(str, range(201))), "201"),
    ):
        with pytest.raises(DatasetError, match=words):
            check_classes(labels)
    check_classes(["cat", "dog"])


def inspected_photos(
    label: str, *, group: str = "", size: tuple[int, int] = (300, 300), seed: int = 0
) -> InspectedPhoto:
    print_ = np.random.default_rng(seed).integers(0, 2**63, 4, dtype=np.uint64)
    return InspectedPhoto(
        LabeledPhoto(Source(f"{label}{seed}", bytes), label, group), "", *size, 1, print_, b""
    )


def test_checks() -> None:
    photos = [inspected_photos("cat", seed=seed) for seed in range(30)]
    photos += [inspected_photos("dog", seed=3), inspected_photos("dog", size=(100, 300), seed=40)]
    photos += [inspected_photos("dog", size=(900, 250), seed=41)]
    report = report_issues(photos, 224)
    assert report.counts == {"cat": 30, "dog": 3}
    assert report.twins == report.contradictions == ((3, 30),)
    assert report.few == {"dog": 3}
    assert report.few["dog"] < FEW
    assert report.imbalance == 10
    assert (report.small, report.long) == ((31,), (32,))


def test_twins_bring_groups_together() -> None:
    photos = [
        replace(
            inspected_photos("cat", seed=seed), photo=LabeledPhoto(Source("", bytes), "cat", group)
        )
        for seed, group in [(0, "a"), (1, "a"), (1, "b"), (2, "b"), (3, ""), (4, "c")]
    ]
    groups = InspectedDataset(tuple(photos), (), report_issues(photos, 224)).groups()
    assert groups == ["group a"] * 4 + ["photo 4", "group c"]


def test_fingerprints_know_a_photo_again(
    photos: dict[str, bytes], encode: Callable[..., bytes]
) -> None:
    images = {name: decode(data) for name, data in photos.items()}
    prints = [fingerprint(image) for image in images.values()]
    assert find_twins(prints) == ()
    cat = images["cat"]
    small = cat.resize((cat.width // 3, cat.height // 3), Image.Resampling.BICUBIC)
    again = decode(encode(cat, "JPEG", quality=40))
    prints += [fingerprint(small), fingerprint(again)]
    assert find_twins(prints) == ((0, 6, 7),)


def test_photos_are_looked_at_in_order(tmp_path: Path, photos: dict[str, bytes]) -> None:
    for number in range(20):
        data = photos["cat"] if number % 5 else b"no photo"
        (tmp_path / f"{number:02}.jpg").write_bytes(data)
    labelled = [LabeledPhoto(source, "x") for source in find_photos([str(tmp_path)])]
    found = list(inspect_photos(labelled, with_thumbnails=True))
    assert [isinstance(one, InspectedPhoto) for one in found] == [
        number % 5 > 0 for number in range(20)
    ]
    assert (
        decode(found[1].thumbnail).size == (160, 107) or max(decode(found[1].thumbnail).size) == 160
    )


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 60), min_size=2),
    st.floats(0.05, 0.5),
    st.integers(0, 10),
)
def test_a_split_is_fair(counts: dict[str, int], share: float, seed: int) -> None:
    labels = [label for label, count in counts.items() for _ in range(count)]
    parts = split(labels, share=share, seed=seed)
    assert sorted(parts.training + parts.validation) == list(range(len(labels)))
    kept = Counter(labels[place] for place in parts.validation)
    for label, count in counts.items():
        assert kept[label] == min(max(1, round(share * count)), count - 1)
    assert parts == split(labels, share=share, seed=seed)


def test_another_seed_gives_another_split() -> None:
    labels = ["a", "b"] * 50
    assert split(labels, seed=0) != split(labels, seed=1)


def test_groups_stay_together() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 300).tolist()
    labels = [f"{group % 4}" for group in groups]
    parts = split(labels, groups)
    assert not {groups[p] for p in parts.training} & {groups[p] for p in parts.validation}
    kept = Counter(labels[place] for place in parts.validation)
    for label, count in Counter(labels).items():
        assert 0.1 < kept[label] / count < 0.3


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=2, max_size=5), min_size=2, max_size=4),
    st.integers(0, 5),
)
def test_each_label_of_several_groups_is_on_both_sides(sizes: list[list[int]], seed: int) -> None:
    """Also where one group is more than is wanted."""
    labels, groups = [], []
    for label, counts in enumerate(sizes):
        for group, count in enumerate(counts):
            labels += [str(label)] * count
            groups += [(label, group)] * count
    parts = split(labels, groups, seed=seed)
    for side in (parts.training, parts.validation):
        assert {labels[place] for place in side} == set(labels)


def test_plain_backgrounds_make_no_twins() -> None:
    prints = []
    for number in range(20):
        image = Image.new("RGB", (200, 200), "white")
        image.paste((200, 30, 30), (80 + number, 90, 120 + number, 130))
        prints.append(fingerprint(image))
    assert find_twins(prints) == ()


def test_a_label_of_a_single_group_is_learned_from() -> None:
    parts = split(["a"] * 5 + ["b"] * 5, ["one"] * 5 + list("vwxyz"))
    assert set(range(5)) <= set(parts.training)
    assert len(parts.validation) == 1


def test_a_name_that_fits_two_photos() -> None:
    sources = [Source(name, bytes) for name in ("a/1.jpg", "b/1.jpg")]
    with pytest.raises(TableError, match=r"'1' in the table of labels fits two photos, 'a/1.jpg'"):
        label_by_table(sources, "image,label\n1,cat\n")
    found = label_by_table(sources, "image,label\na/1,cat\nb/1,dog\n")
    assert [photo.label for photo in found.photos] == ["cat", "dog"]


def test_labels_that_differ_in_capitals_only() -> None:
    labels = ("Cat", "cat", "dog", "dog")
    hashes = np.arange(16, dtype=np.uint64).reshape(4, 4)
    inspected_photos = [
        InspectedPhoto(
            LabeledPhoto(Source(str(place), bytes), label), "", 300, 300, 1, hashes[place], b""
        )
        for place, label in enumerate(labels)
    ]
    assert report_issues(inspected_photos, 224).alike == (("Cat", "cat"),)


def test_an_archive_without_folders_holds_one_kind() -> None:
    sources = [Source(name, bytes) for name in ("mugs.zip/1.jpg", "x/cups.tar.gz/2.jpg")]
    assert [one.label for one in label_by_folders(sources).photos] == ["mugs", "cups"]
