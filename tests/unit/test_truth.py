"""What is really on photos, by their names and by tables."""

from __future__ import annotations

import pytest

from vgg_demo.errors import TableError
from vgg_demo.labels import load_labels
from vgg_demo.truth import class_of, read_truth, truth_in_name, wnid_of


@pytest.mark.parametrize(
    ("name", "wnid"),
    [
        ("n02123045_tabby.jpg", "n02123045"),
        ("ILSVRC2012_val_00000001_n01751748.JPEG", "n01751748"),
        ("val/n02123045/1.jpg", "n02123045"),
        ("n02123045/n01751748.jpg", "n01751748"),
        ("photos.zip/Egyptian_cat/1.jpg", "n02124075"),
        ("test/airplane/1.jpg", "n02691156"),
        ("tabby.jpg", None),
        ("n99999999/1.jpg", None),
        ("an02123045.jpg", None),
        ("n021230451.jpg", None),
        ("holidays/1.jpg", None),
        ("1.jpg", None),
    ],
)
def test_names(name: str, wnid: str | None) -> None:
    assert truth_in_name(name) == wnid


def test_each_class_by_its_name() -> None:
    for labels in (load_labels("cifar10"), load_labels("imagenet")):
        for label in labels:
            assert wnid_of(label.wnid) == label.wnid
            assert wnid_of(label.label.replace(" ", "_")) == label.wnid
    assert wnid_of("egyptian CAT") == "n02124075"
    assert wnid_of("crane") is None  # a bird or a machine
    assert (wnid_of("Cardigan"), wnid_of("cardigan")) == ("n02113186", "n02963159")
    assert wnid_of("CARDIGAN") is None  # a dog or a garment


def test_what_is_right_for_whom() -> None:
    imagenet, cifar10 = load_labels("imagenet"), load_labels("cifar10")
    assert class_of("n02123045", imagenet).label == "tabby"
    assert class_of("n02123045", cifar10).label == "cat"
    assert class_of("n02121620", imagenet) is None  # any cat: none of the thousand
    assert class_of("n02504458", cifar10) is None  # an elephant


def test_tables() -> None:
    find = read_truth("\ufeffimage,label,note\n1.jpg,tabby,x\nb\\1.jpg,n01751748,\n2.jpg,mine,\n")
    assert find("photos/1.jpg") == find("1.jpg") == "n02123045"
    assert find("photos/b/1.jpg") == find("photos\\b\\1.jpg") == "n01751748"
    assert find("2.jpg") is find("11.jpg") is find("3.jpg") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"the columns \(none\); it needs image and label"),
        ("file,label\n1.jpg,cat\n", "the columns file, label; it needs"),
        ("image,label\n", "No label in the table is a class"),
        ("image,label\n1.jpg,T-Shirt\n2.jpg\n", "the first is 'T-Shirt'"),
    ],
)
def test_bad_tables(text: str, words: str) -> None:
    with pytest.raises(TableError, match=words):
        read_truth(text)
