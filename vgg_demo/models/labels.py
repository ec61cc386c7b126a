"""Class labels, and their position in the WordNet hierarchy.

Classes are identified by their WordNet ID (WNID), never by their label: in ImageNet, "crane" is a
bird and a machine, and "maillot" is two different garments.

The data files are ``data/imagenet_class_index.json`` (the class index that Keras downloads) and
``data/wordnet.json`` (the classes and all their hypernyms in WordNet 3.0; license in
``data/WORDNET_LICENSE``).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

CUSTOM_PREFIX = "custom:"
"""Prefix of the IDs of classes that are not in WordNet."""

LabelSet = Literal["imagenet", "cifar10", "custom"]
LABEL_SETS: tuple[LabelSet, ...] = ("imagenet", "cifar10")


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """A class that a model can predict.

    Attributes:
        index: Position in the model's output, from 0.
        wnid: WordNet ID: "n" and eight digits. For a class of a custom model,
            `CUSTOM_PREFIX` and the name of the class, which has no hypernyms.
        label: Readable name; if two classes share one, the hypernym is appended: "crane (wading
            bird)".
        definition: WordNet's definition; empty for a class of a custom model.
    """

    index: int
    wnid: str
    label: str
    definition: str

    @property
    def phrase(self) -> str:
        """The label as used in a sentence: with an article, except for classes of custom models.

        >>> ClassLabel(3, "n02121620", "cat", "").phrase
        'a cat'
        >>> ClassLabel(0, "custom:Hat", "Hat", "").phrase
        'Hat'
        """
        return self.label if self.wnid.startswith(CUSTOM_PREFIX) else with_article(self.label)


@cache
def load_labels(name: LabelSet) -> tuple[ClassLabel, ...]:
    """Returns the classes of a label set in the order of the model's outputs.

    Raises:
        ValueError: If the name is "custom": the labels of a custom model are in its bundle.
    """
    if name == "custom":
        raise ValueError("there is no common label set 'custom': each custom model has its own")
    if name == "cifar10":
        named = [(wnid, label) for label, wnid in _wordnet()["cifar10"].items()]
    else:
        index = json.loads(_data("imagenet_class_index.json"))
        named = [(wnid, label.replace("_", " ")) for wnid, label in index.values()]
    shared = {label for label, count in Counter(label for _, label in named).items() if count > 1}
    return tuple(
        ClassLabel(
            index=index,
            wnid=wnid,
            label=f"{label} ({_parent_lemma(wnid)})" if label in shared else label,
            definition=definition(wnid),
        )
        for index, (wnid, label) in enumerate(named)
    )


def lemma(wnid: str) -> str:
    """Returns the first lemma of a synset.

    >>> lemma("n02121620")
    'cat'
    """
    return str(_synset(wnid)["lemmas"][0])


def definition(wnid: str) -> str:
    """Returns WordNet's definition of a synset, without its usage examples.

    >>> definition("n02958343")[:40]
    'a motor vehicle with four wheels; usuall'
    """
    return str(_synset(wnid)["gloss"]).split('; "')[0]


@cache
def ancestors(wnid: str) -> frozenset[str]:
    """Returns the synset and all its direct and indirect hypernyms.

    WordNet is not a tree: a synset may have several hypernyms.

    >>> {"n02121620", "n01861778"} <= ancestors("n02123045")  # a tabby: a cat, a mammal
    True
    """
    parents = _synset(wnid)["hypernyms"]
    return frozenset({wnid}).union(*(ancestors(parent) for parent in parents))


def describe_wnid(wnid: str) -> dict[str, Any] | None:
    """Returns name, definition, classes and hypernyms of a synset as plain JSON values.

    Args:
        wnid: WordNet ID of a class or of a hypernym.

    Returns:
        The description; None if the synset is unknown.
    """
    if wnid not in _wordnet()["synsets"]:
        return None
    hypernyms = sorted(ancestors(wnid) - {wnid}, key=lambda synset: (-depth(synset), synset))
    return {
        "wnid": wnid,
        "name": lemma(wnid),
        "definition": definition(wnid),
        "classes": [
            {"labels": name, "index": label.index, "label": label.label}
            for name in LABEL_SETS
            for label in load_labels(name)
            if label.wnid == wnid
        ],
        "hypernyms": [{"wnid": synset, "name": lemma(synset)} for synset in hypernyms],
    }


@cache
def depth(wnid: str) -> int:
    """Returns the length of the longest path to WordNet's root, "entity".

    >>> depth("n00001740")
    0
    """
    return max((1 + depth(parent) for parent in _synset(wnid)["hypernyms"]), default=0)


# Mass nouns and plurals take no article.
_NO_ARTICLE = frozenset(
    """
    broccoli, cauliflower, chocolate sauce, clothing, consomme, corn, dough, edible fruit, eggnog,
    equipment, espresso, food, foodstuff, fruit, furniture, guacamole, hay, ice cream,
    mashed potato, nutriment, plant material, produce, red wine, velvet, wool
    """.replace("\n    ", " ")
    .strip()
    .split(", ")
)
_PLURALS = frozenset(
    """
    baked goods, bedclothes, binoculars, consumer goods, drygoods, durables, parallel bars,
    spectacles, starches, sunglasses, swimming trunks, tights, white goods
    """.replace("\n    ", " ")
    .strip()
    .split(", ")
)
_SILENT_H = ("hour",)
_SOUNDS_LIKE_YOU = ("uni", "eu", "use", "ukulele", "one")


def with_article(noun: str) -> str:
    """Returns a noun with its indefinite article, if it takes one.

    >>> [with_article(noun) for noun in ("cat", "Egyptian cat", "hourglass", "unicycle")]
    ['a cat', 'an Egyptian cat', 'an hourglass', 'a unicycle']
    >>> [with_article(noun) for noun in ("sunglasses", "lens", "hay", "chest of drawers")]
    ['sunglasses', 'a lens', 'hay', 'a chest of drawers']
    """
    lower = noun.lower()
    if lower in _PLURALS | _NO_ARTICLE:
        return noun
    vowel = lower.startswith(("a", "e", "i", "o", "u")) and not lower.startswith(_SOUNDS_LIKE_YOU)
    return f"{'an' if vowel or lower.startswith(_SILENT_H) else 'a'} {noun}"


def _parent_lemma(wnid: str) -> str:
    return lemma(_synset(wnid)["hypernyms"][0])


def _synset(wnid: str) -> dict[str, Any]:
    if wnid.startswith(CUSTOM_PREFIX):
        return {"lemmas": [wnid.removeprefix(CUSTOM_PREFIX)], "gloss": "", "hypernyms": []}
    synset: dict[str, Any] = _wordnet()["synsets"][wnid]
    return synset


@cache
def _wordnet() -> dict[str, Any]:
    wordnet: dict[str, Any] = json.loads(_data("wordnet.json"))
    return wordnet


def _data(name: str) -> str:
    return files("vgg_demo").joinpath("data", name).read_text(encoding="utf-8")
