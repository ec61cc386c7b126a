"""Class labels and the WordNet hierarchy."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from vgg_demo.models.labels import ancestors, definition, depth, lemma, load_labels

CAT, DOG, ANIMAL = "n02121620", "n02084071", "n00015388"


@pytest.mark.parametrize(("name", "classes"), [("imagenet", 1000), ("cifar10", 10)])
def test_every_class_has_a_unique_wnid_a_unique_label_and_a_definition(name, classes: int) -> None:
    labels = load_labels(name)
    assert [label.index for label in labels] == list(range(classes))
    assert len({label.wnid for label in labels}) == classes
    assert len({label.label for label in labels}) == classes
    assert all(label.definition and "_" not in label.label for label in labels)


def test_imagenet_classes_are_in_the_order_of_keras() -> None:
    labels = load_labels("imagenet")
    assert (labels[0].wnid, labels[0].label) == ("n01440764", "tench")
    assert (labels[281].wnid, labels[281].label) == ("n02123045", "tabby")
    assert (labels[999].wnid, labels[999].label) == ("n15075141", "toilet tissue")


def test_cifar10_classes_are_in_alphabetical_order() -> None:
    names = [label.label for label in load_labels("cifar10")]
    assert names == sorted(names)
    assert names[3] == "cat"


def test_classes_with_the_same_keras_label_get_different_labels() -> None:
    path = Path(__file__).parents[2] / "vgg_demo/data/imagenet_class_index.json"
    keras = Counter(label for _, label in json.loads(path.read_text()).values())
    assert [label for label, count in keras.items() if count > 1] == ["crane", "maillot"]
    labels = load_labels("imagenet")
    assert labels[134].label == "crane (wading bird)"
    assert labels[517].label == "crane (lifting device)"


def test_class_has_ancestors_lemma_definition_and_depth() -> None:
    labels = load_labels("imagenet")
    tabby = labels[281].wnid
    assert {CAT, ANIMAL, tabby} <= ancestors(tabby)
    assert DOG not in ancestors(tabby)
    assert lemma(CAT) == "cat"
    assert "feline" in definition(CAT)
    assert depth(tabby) > depth(CAT) > depth(ANIMAL) > 0


def test_root_is_an_ancestor_of_every_class() -> None:
    for name in ("imagenet", "cifar10"):
        assert all("n00001740" in ancestors(label.wnid) for label in load_labels(name))
