"""Ground truth from file names, folders and label tables."""

from __future__ import annotations

import pytest

from vgg_demo.analysis.ground_truth import (
    find_ground_truth,
    find_wnid,
    ground_truth_from_name,
    read_ground_truth,
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
def test_ground_truth_is_read_from_the_path(name: str, wnid: str | None) -> None:
    assert ground_truth_from_name(name) == wnid


def test_every_class_is_found_by_its_label() -> None:
    for labels in (load_labels("cifar10"), load_labels("imagenet")):
        for label in labels:
            assert find_wnid(label.wnid) == label.wnid
            assert find_wnid(label.label.replace(" ", "_")) == label.wnid
    assert find_wnid("egyptian CAT") == "n02124075"
    assert find_wnid("crane") is None  # a bird or a machine
    assert (find_wnid("Cardigan"), find_wnid("cardigan")) == ("n02113186", "n02963159")
    assert find_wnid("CARDIGAN") is None  # a dog or a garment


def test_general_synsets_are_found_by_id_only() -> None:
    assert find_wnid("dog") == find_wnid("Dog") == "n02084071"
    assert find_wnid("train") is None  # a folder of training photos does not show trains
    assert find_wnid("n02075296") == "n02075296"


def test_ground_truth_depends_on_the_classes_of_the_model() -> None:
    imagenet, cifar10 = load_labels("imagenet"), load_labels("cifar10")
    assert find_ground_truth("n02123045", imagenet).label.label == "tabby"
    assert find_ground_truth("n02123045", cifar10).label.label == "cat"
    assert find_ground_truth("n02504458", cifar10) is None  # an elephant
    dog = find_ground_truth("n02084071", imagenet)  # any dog
    assert (dog.label.label, dog.label.index, len(dog.indices)) == ("dog", -1, 118)
    assert imagenet[dog.indices[0]].label == "Chihuahua"


def test_label_table_matches_ends_of_paths() -> None:
    find = read_ground_truth(
        "\ufeffimage,label,note\n1.jpg,tabby,x\nb\\1.jpg,n01751748,\n2.jpg,mine,\n"
    )
    assert find("photos/1.jpg") == find("1.jpg") == "n02123045"
    assert find("photos/b/1.jpg") == find("photos\\b\\1.jpg") == "n01751748"
    assert find("2.jpg") is find("11.jpg") is find("3.jpg") is None


def test_the_longest_match_in_a_label_table_counts() -> None:
    find = read_ground_truth("image,label\ncats/1.jpg,my holidays\n./1.jpg,tabby\n")
    assert find("photos/cats/1.jpg") is None
    assert find("photos/1.jpg") == "n02123045"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the columns \(none\); it needs the columns image and label"),
        ("file,label\n1.jpg,cat\n", "the columns file, label; it needs"),
        ("image,label\n", "No label in the table is a class"),
        ("image,label\n1.jpg,tabby\n1.jpg,tench\n", "different labels for '1.jpg'"),
        ("image,label\n1.jpg,T-Shirt\n2.jpg\n", "the first is 'T-Shirt'"),
    ],
)
def test_invalid_label_table_is_rejected(text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_ground_truth(text)
