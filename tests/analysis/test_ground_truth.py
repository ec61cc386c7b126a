"""What is really on photos, by their names and by tables."""

from __future__ import annotations

import pytest

from vgg_demo.analysis.ground_truth import (
    find_ground_truth,
    ground_truth_from_name,
    read_ground_truth,
    wnid_of,
)
from vgg_demo.errors import TableError
from vgg_demo.models.labels import load_labels


@pytest.mark.parametrize(
    ("name", "wnid"),
    [
        ("n02123045_tabby.jpg", "n02123045"),
        ("ILSVRC2012_val_00000001_n01751748.JPEG", "n01751748"),
        ("val/n02123045/1.jpg", "n02123045"),
        ("n02123045/n01751748.jpg", "n01751748"),
        ("photos.zip/Egyptian_cat/1.jpg", "n02124075"),
        ("test/airplane/1.jpg", "n02691156"),
        ("tabby.jpg", "n02123045"),
        ("train/cat.1203.jpg", "n02121620"),
        ("golden_retriever (2).jpg", "n02099601"),
        ("holidays\\tabby\\1.jpg", "n02123045"),
        ("tabby/dog.jpg", "n02123045"),
        ("tabby and dog.jpg", None),
        ("n99999999/1.jpg", None),
        ("an02123045.jpg", None),
        ("n021230451.jpg", None),
        ("holidays/1.jpg", None),
        ("1.jpg", None),
    ],
)
def test_names(name: str, wnid: str | None) -> None:
    assert ground_truth_from_name(name) == wnid


def test_each_class_by_its_name() -> None:
    for labels in (load_labels("cifar10"), load_labels("imagenet")):
        for label in labels:
            assert wnid_of(label.wnid) == label.wnid
            assert wnid_of(label.label.replace(" ", "_")) == label.wnid
    assert wnid_of("egyptian CAT") == "n02124075"
    assert wnid_of("crane") is None  # a bird or a machine
    assert (wnid_of("Cardigan"), wnid_of("cardigan")) == ("n02113186", "n02963159")
    assert wnid_of("CARDIGAN") is None  # a dog or a garment


def test_kinds_of_things_by_their_names() -> None:
    assert wnid_of("dog") == wnid_of("Dog") == "n02084071"
    assert wnid_of("train") is None  # a folder of photos to learn from is not of trains
    assert wnid_of("n02075296") == "n02075296"


def test_what_is_right_for_whom() -> None:
    imagenet, cifar10 = load_labels("imagenet"), load_labels("cifar10")
    assert find_ground_truth("n02123045", imagenet).label.label == "tabby"
    assert find_ground_truth("n02123045", cifar10).label.label == "cat"
    assert find_ground_truth("n02504458", cifar10) is None  # an elephant
    dog = find_ground_truth("n02084071", imagenet)  # any dog
    assert (dog.label.label, dog.label.index, len(dog.indices)) == ("dog", -1, 118)
    assert imagenet[dog.indices[0]].label == "Chihuahua"


def test_tables() -> None:
    find = read_ground_truth(
        "\ufeffimage,label,note\n1.jpg,tabby,x\nb\\1.jpg,n01751748,\n2.jpg,mine,\n"
    )
    assert find("photos/1.jpg") == find("1.jpg") == "n02123045"
    assert find("photos/b/1.jpg") == find("photos\\b\\1.jpg") == "n01751748"
    assert find("2.jpg") is find("11.jpg") is find("3.jpg") is None


def test_the_longer_path_in_a_table_goes_before() -> None:
    find = read_ground_truth("image,label\ncats/1.jpg,my holidays\n./1.jpg,tabby\n")
    assert find("photos/cats/1.jpg") is None
    assert find("photos/1.jpg") == "n02123045"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"the columns \(none\); it needs image and label"),
        ("file,label\n1.jpg,cat\n", "the columns file, label; it needs"),
        ("image,label\n", "No label in the table is a class"),
        ("image,label\n1.jpg,tabby\n1.jpg,tench\n", "says two things of '1.jpg'"),
        ("image,label\n1.jpg,T-Shirt\n2.jpg\n", "the first is 'T-Shirt'"),
    ],
)
def test_bad_tables(text: str, words: str) -> None:
    with pytest.raises(TableError, match=words):
        read_ground_truth(text)
