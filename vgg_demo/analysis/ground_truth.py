"""What is really on a photo, where its name, its folder or a table says so."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from vgg_demo.errors import TableError
from vgg_demo.models.custom import clean_label
from vgg_demo.models.labels import (
    CUSTOM_PREFIX,
    ClassLabel,
    ancestors,
    definition,
    depth,
    lemma,
    load_labels,
)

WNID = re.compile(r"(?<![a-z0-9])n\d{8}(?!\d)")
NUMBER = re.compile(r"[\s._-]*(\d+|\(\d+\))$")
ReadGroundTruth = Callable[[str], str | None]
"""Says the WordNet ID of what is on a photo by the photo's name; None where it is not known."""


def ground_truth_from_name(name: str) -> str | None:
    """Reads what is on a photo from its name.

    A WordNet ID anywhere in it counts most, then the folder's name, then the file's, without
    the number behind it.

    >>> ground_truth_from_name("val/n02123045_17.jpg"), ground_truth_from_name("photos.zip/tabby/1.jpg")
    ('n02123045', 'n02123045')
    >>> ground_truth_from_name("train/golden_retriever.12.jpg")
    'n02099601'
    """
    path = PurePosixPath(_slashes(name))
    for part in reversed(path.parts):
        if found := WNID.search(part):
            return found.group() if found.group() in _known_wnids() else None
    return wnid_of(path.parent.name) or wnid_of(NUMBER.sub("", path.stem))


def ground_truth_reader(classes: Sequence[ClassLabel]) -> ReadGroundTruth:
    """Returns how the truth is read from names for a model.

    What a model was taught has names of its own: a folder's is looked for first, then the
    file's, without the number behind it, in any case. For all other models see `ground_truth_from_name`.

    Args:
        classes: What the model answers.
    """
    own = _OwnNames(classes)
    if not own:
        return ground_truth_from_name

    def find(name: str) -> str | None:
        path = PurePosixPath(_slashes(name))
        stem = path.stem
        # A name may end in a number ("Kind 1"), and so do the photos of a kind.
        found = (own.get(one) for one in (path.parent.name, stem, NUMBER.sub("", stem)))
        return next((wnid for wnid in found if wnid), None)

    return find


class _OwnNames:
    """What a model was taught, by name: as it is written, or in any case where that is one."""

    def __init__(self, classes: Sequence[ClassLabel]) -> None:
        custom = [one for one in classes if one.wnid.startswith(CUSTOM_PREFIX)]
        self._exact = {clean_label(one.label): one.wnid for one in custom}
        count = Counter(name.casefold() for name in self._exact)
        self._folded = {
            name.casefold(): wnid
            for name, wnid in self._exact.items()
            if count[name.casefold()] == 1
        }

    def __bool__(self) -> bool:
        return bool(self._exact)

    def get(self, name: str) -> str | None:
        label = clean_label(name)
        return self._exact.get(label) or self._folded.get(label.casefold())


def wnid_of(name: str) -> str | None:
    """Returns the WordNet ID of a class by its name; what is an ID already stays.

    None if there is none. Other kinds of things have no names here: "train" is one.

    >>> wnid_of("Egyptian_cat"), wnid_of("n02124075"), wnid_of("my holidays")
    ('n02124075', 'n02124075', None)
    """
    wanted = " ".join(name.replace("_", " ").split())
    if wanted in _known_wnids():
        return wanted
    exact, folded = _wnids_by_label()
    return exact.get(wanted) or folded.get(wanted.casefold())


def read_ground_truth(text: str, classes: Sequence[ClassLabel] = ()) -> ReadGroundTruth:
    """Reads true labels from a table with the columns ``image`` and ``label``.

    An image is named by its path as it ends: ``1.jpg`` or ``cats/1.jpg``, of which the longer
    goes before. A label is the name of a class, or a WordNet ID; photos with other labels are of
    unknown truth.

    Args:
        text: CSV, with a header.
        classes: What the model answers; needed if it was taught, since then a label is one of
            its own.

    Raises:
        TableError: If a column is missing, no label is a class, or an image has two.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise TableError(f"The table of labels cannot be read: {error}.") from error
    columns = reader.fieldnames or ["(none)"]
    if not {"image", "label"} <= set(columns):
        raise TableError(
            f"The table of labels has the columns {', '.join(columns)[:200]}; "
            "it needs image and label."
        )
    truth: dict[str, str | None] = {}
    own = _OwnNames(classes)
    for row in rows:
        image, label = _slashes(row["image"] or ""), row["label"] or ""
        wnid = own.get(label) if own else wnid_of(label)
        if truth.setdefault(image, wnid) != wnid:
            raise TableError(f"The table of labels says two things of {image[:200]!r}.")
    if not any(truth.values()):
        first = rows[0]["label"] if rows else ""
        raise TableError(
            f"No label in the table is a class; the first is {str(first)[:60]!r}. "
            "Use names or WordNet IDs as `classify` gives them."
        )
    return _by_end_of_path(truth)


def _by_end_of_path(truth: Mapping[str, str | None]) -> ReadGroundTruth:
    def find(name: str) -> str | None:
        parts = _slashes(name).split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((truth[end] for end in ends if end in truth), None)

    return find


def _slashes(path: str) -> str:
    return path.strip().replace("\\", "/").removeprefix("./")


@cache
def _known_wnids() -> frozenset[str]:
    """Returns all classes, and all that they are kinds of."""
    return frozenset().union(*(ancestors(label.wnid) for label in _all_labels()))


@cache
def _wnids_by_label() -> tuple[dict[str, str], dict[str, str]]:
    """Returns WordNet IDs by the exact name, and by the name in small letters if it is one's.

    A Cardigan is a dog, and a cardigan a garment.
    """
    exact = {label.label: label.wnid for label in _all_labels()}
    count = Counter(name.casefold() for name in exact)
    folded = {name.casefold(): wnid for name, wnid in exact.items()}
    return exact, {name: wnid for name, wnid in folded.items() if count[name] == 1}


def _all_labels() -> tuple[ClassLabel, ...]:
    return load_labels("cifar10") + load_labels("imagenet")


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What is on a photo, in the terms of a model.

    Attributes:
        label: A class of the model; or, with the index -1, something that several classes are
            kinds of.
        indices: The classes that are right.
    """

    label: ClassLabel
    indices: tuple[int, ...]


@cache
def find_ground_truth(wnid: str, labels: tuple[ClassLabel, ...]) -> GroundTruth | None:
    """Returns what is right for a model where something is on a photo; None if nothing is.

    A tabby is right as "tabby" for one model, and as "cat" for one that knows ten things. A dog
    of which no more is known is right as any of a hundred breeds.
    """
    kinds = ancestors(wnid)
    above = [label for label in labels if label.wnid in kinds]
    if above:
        label = max(above, key=lambda label: depth(label.wnid))
        return GroundTruth(label, (label.index,))
    below = tuple(label.index for label in labels if wnid in ancestors(label.wnid))
    return (
        GroundTruth(ClassLabel(-1, wnid, lemma(wnid), definition(wnid)), below) if below else None
    )
